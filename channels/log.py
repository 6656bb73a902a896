"""Log lines that a person can read."""

from __future__ import annotations

import logging
from typing import TextIO

from interface_server.log import LineFormatter, LineHandler, one_line

LOGGERS = ("channels", "workers", "interface_server", "channel_layer")
"""The loggers of this distribution."""

LEVELS = {0: logging.WARNING, 1: logging.INFO}
"""Verbosity → level; above the last one it is DEBUG."""

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_TIME = "%H:%M:%S"


def set_up(verbosity: int, stream: TextIO | None = None) -> None:
    """Show what this distribution logs, for a command that a person started.

    A project that configures one of these loggers, or the root logger, has decided where its lines
    go: nothing is changed then but the level of those it left open.

    Args:
        verbosity: 0 warnings and errors, 1 what happens, 2 and above each message.
        stream: where to; standard error by default.
    """
    level = LEVELS.get(verbosity, logging.DEBUG)
    handler = LineHandler(stream)
    handler.setFormatter(LineFormatter(_FORMAT, _TIME))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
        if not logger.hasHandlers():
            logger.addHandler(handler)


def printable(text: object, width: int = 200) -> str:
    """Text from outside for a log line: no control characters, no more than ``width`` characters."""
    shown = one_line(str(text)[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def message_line(channel: str, path: object, seconds: float, outcome: object) -> str:
    """One line about a message that a worker dealt with.

    >>> message_line("websocket.receive", "/chat/", 0.0042, "ok")
    'websocket.receive     /chat/                            4.2 ms  ok'
    """
    return f"{printable(channel):<21} {printable(path):<30} {seconds * 1000:>6.1f} ms  {printable(outcome)}"
