"""The access log: one line per request in the NCSA common format, and lines for WebSockets."""

from __future__ import annotations

import re
import sys
import time
from typing import Any, TextIO

_CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"\\\\]')


def printable(text: str) -> str:
    """Text with control characters, quotes and backslashes escaped, so that it stays one log field."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class AccessLog:
    """Writes access lines to a stream, each with one call and flushed.

    Args:
        stream: where to; ``None`` makes every call a no-op and `enabled` false.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.enabled = stream is not None
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
        return cls(sys.stdout if target == "-" else open(target, "a", encoding="utf-8", buffering=1))

    def request(self, scope: dict[str, Any], status: int, size: int, seconds: float) -> None:
        """An HTTP request was answered."""
        target = _target(scope)
        version = scope.get("http_version", "1.1")
        self._write(scope, f"{scope['method']} {target} HTTP/{version}", str(status), str(size), f" {seconds:.3f}")

    def websocket(self, scope: dict[str, Any], event: str, code: int | None = None) -> None:
        """A WebSocket was asked for, accepted, refused or closed."""
        self._write(scope, f"{event} {_target(scope)}", "-" if code is None else str(code), "-")

    def needed(self, scope: dict[str, Any]) -> dict[str, Any]:
        """What has to be kept of a scope for later lines of its WebSocket; nothing, if nothing is logged."""
        return {key: scope.get(key) for key in ("client", "path", "query_string")} if self.enabled else {}

    def _write(self, scope: dict[str, Any], what: str, status: str, size: str, more: str = "") -> None:
        if self._stream is None:
            return
        client = scope.get("client")
        host = f"{client[0]}:{client[1]}" if client else "-"
        try:
            self._stream.write(f'{host} - - [{self._now()}] "{what}" {status} {size}{more}\n')
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe behind the log ends the log, not the server
            self._stream = None
            self.enabled = False

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._stamp


def _target(scope: dict[str, Any]) -> str:
    query = scope.get("query_string") or b""
    path: str = scope["path"]
    return printable(path + ("?" + query.decode("latin-1") if query else ""))
