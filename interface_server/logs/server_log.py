"""The log of the server and of workers: one record a line, and no caller waits for a slow reader."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from .line_writer import LineWriter, sink_of


def one_line(text: str) -> str:
    """Text in which what is not printable is escaped: line ends, ESC, marks that reverse the direction of writing."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable(text: object, width: int = 200) -> str:
    """Text from outside for a log line: no control characters, no more than ``width`` characters."""
    if isinstance(text, str) and len(text) <= width and text.isprintable():
        return text  # most, and a path on every frame
    shown = one_line(str(text)[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + "…"


class LineFormatter(logging.Formatter):
    """Begins a line for each record. The lines of a traceback are indented, so that none can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`; does not share formatted tracebacks with other handlers."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [one_line(self.formatMessage(record))]
        details = [self.formatException(record.exc_info)] if record.exc_info else [record.exc_text or ""]
        for detail in (*details, self.formatStack(record.stack_info) if record.stack_info else ""):
            lines += [f"  {one_line(line)}" for line in detail.splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """Makes an object of each record, on one line, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(fields)


FORMATS: Final = ("text", "json")


def formatter(name: str) -> logging.Formatter:
    """The formatter of one of `FORMATS`."""
    return JsonFormatter() if name == "json" else LineFormatter("%(asctime)s %(levelname)-7s %(message)s")


class LineHandler(logging.Handler):
    """Writes records with a `LineWriter`.

    Args:
        stream: where to; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._writer = LineWriter(sink_of(sys.stderr if stream is None else stream), "the log")

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self._writer.write(line + "\n")

    def flush(self) -> None:
        """See `logging.Handler.flush`; waits a second at most."""
        self._writer.flush()
