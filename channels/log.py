"""Log lines that a person can read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TextIO

from interface_server.logs.server_log import FORMATS, LineHandler, formatter, printable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

LOGGERS = ("channels", "workers", "interface_server", "channel_layer")
"""The loggers of this distribution."""

LEVELS = {0: logging.WARNING, 1: logging.INFO}
"""Verbosity → level; above the last one it is DEBUG."""


def set_up(verbosity: int, stream: TextIO | None = None, log_format: str = FORMATS[0]) -> None:
    """Show what this distribution logs, for a command that a person started.

    A project that configures one of these loggers, or the root logger, has decided where its lines
    go: nothing is changed then but the level of those it left open.

    Args:
        verbosity: 0 warnings and errors, 1 what happens, 2 and above each message.
        stream: where to; standard error by default.
        log_format: one of `FORMATS`.
    """
    level = LEVELS.get(verbosity, logging.DEBUG)
    handler = LineHandler(stream)
    handler.setFormatter(formatter(log_format))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
        if not logger.hasHandlers():
            logger.addHandler(handler)


def setup_logger(name: str, verbosity: int = 1) -> logging.Logger:
    """The logger of an application's own command, set up to show its lines on standard error; see `set_up`."""
    logger = logging.getLogger(name)
    logger.setLevel(LEVELS[1] if verbosity < 2 else logging.DEBUG)
    if not any(isinstance(handler, LineHandler) for handler in logger.handlers):
        handler = LineHandler()
        handler.setFormatter(formatter(FORMATS[0]))
        logger.addHandler(handler)
    logger.propagate = False
    return logger


def add_format_option(parser: CommandParser) -> None:
    """Declare ``--log-format``."""
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        default=FORMATS[0],
        help="form of the log: lines for people, or a JSON object a line (default: %(default)s)",
    )


def message_line(channel: str, path: object, seconds: float, outcome: object) -> str:
    """One line about a message that a worker dealt with.

    >>> message_line("websocket.receive", "/chat/", 0.0042, "ok")
    'websocket.receive     /chat/                            4.2 ms  ok'
    """
    return f"{printable(channel):<21} {printable(path):<30} {seconds * 1000:>6.1f} ms  {printable(outcome)}"
