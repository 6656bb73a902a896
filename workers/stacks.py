"""Log records with the stack of another thread or task."""

from __future__ import annotations

import logging


def log_with_stack(logger: logging.Logger, level: int, stack: str, text: str, *args: object) -> None:
    """Log a line, below which a stack stands as that of a traceback does: every formatter keeps it out of the line.

    Args:
        logger, level, text, args: as those of `logging.Logger.log`.
        stack: text of several lines.
    """
    if logger.isEnabledFor(level):
        path, line, function, _ = logger.findCaller(stacklevel=2)
        shown = stack.rstrip("\n") or None
        logger.handle(logger.makeRecord(logger.name, level, path, line, text, args, None, function, None, shown))
