"""The access log: one line per request in the NCSA common format, and lines for WebSockets."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

from .line_writer import File, LineWriter, sink_of

GATHER_SECONDS = 0.02

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def ascii_field(text: str) -> str:
    """Escape text to printable ASCII without quotes and backslashes, so that it stays one field of a log line."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class AccessLog:
    """Makes access lines.

    Args:
        writer: what writes them; ``None`` makes every call a no-op.
    """

    def __init__(self, writer: LineWriter | None) -> None:
        self._writer = writer
        self._second = 0
        self._stamp = ""

    @classmethod
    def open(cls, target: str) -> AccessLog:
        """For a path (appended to), ``-`` (standard output) or an empty string (no log).

        Raises:
            OSError: the file cannot be opened.
        """
        if not target:
            return cls(None)
        if target == "-":
            return cls(LineWriter(sink_of(sys.stdout), "the access log", GATHER_SECONDS))
        return cls(LineWriter(File(target), f"the access log {target}", GATHER_SECONDS))

    @property
    def enabled(self) -> bool:
        """True if lines are written at all."""
        return self._writer is not None and not self._writer.ended

    def close(self) -> None:
        """Write what is left, unless that takes long."""
        if self._writer is not None:
            self._writer.close()

    def request(self, scope: dict[str, Any], status: int, size: int, seconds: float) -> None:
        """An HTTP request was answered."""
        target = _target(scope)
        version = scope.get("http_version", "1.1")
        self._write(scope, f"{scope['method']} {target} HTTP/{version}", str(status), str(size), f" {seconds:.3f}")

    def websocket(self, scope: dict[str, Any], event: str, code: int | None = None) -> None:
        """A WebSocket was asked for, accepted, refused or closed."""
        self._write(scope, f"{event} {_target(scope)}", "-" if code is None else str(code), "-")

    def needed(self, scope: dict[str, Any]) -> dict[str, Any]:
        """The part of a scope that later lines of its WebSocket need; empty if nothing is logged."""
        return {key: scope.get(key) for key in ("client", "path", "query_string")} if self.enabled else {}

    def _write(self, scope: dict[str, Any], what: str, status: str, size: str, more: str = "") -> None:
        if self._writer is None:
            return
        client = scope.get("client")
        host = ascii_field(f"{client[0]}:{client[1]}") if client else "-"
        self._writer.write(f'{host} - - [{self._now()}] "{ascii_field(what)}" {status} {size}{more}\n')

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._stamp


def _target(scope: dict[str, Any]) -> str:
    query = scope.get("query_string") or b""
    path: str = scope["path"]
    return path + ("?" + query.decode("latin-1") if query else "")
