"""The request target and the addresses of a connection, as messages carry them."""

from __future__ import annotations

import asyncio
import urllib.parse


class Refusal(Exception):
    """A request that is answered with this status, without asking a worker."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(status, reason)


class BadTarget(Refusal):
    """A request target that is none (RFC 9112, section 3.2)."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


def split_target(target: bytes, method: str) -> tuple[str, bytes]:
    """Split a request target into the decoded path and the raw query string.

    Percent escapes are decoded as UTF-8; what is no UTF-8 becomes U+FFFD. The absolute form gives
    its path, ``OPTIONS *`` gives ``*``.

    >>> split_target(b"/caf%C3%A9?a=%20", "GET")
    ('/café', b'a=%20')
    """
    if not target.startswith(b"/"):
        target = _path_of(target, method)
    raw, _, query = target.partition(b"#")[0].partition(b"?")
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadTarget("bytes above 127 in the request target") from None
    return (urllib.parse.unquote(path) if "%" in path else path), query


def _path_of(target: bytes, method: str) -> bytes:
    if target == b"*" and method == "OPTIONS":
        return target
    scheme, mark, rest = target.partition(b"://")
    if mark and scheme.lower() in (b"http", b"https") and rest:
        return b"/" + rest.partition(b"/")[2]
    raise BadTarget("the request target is no path")


def peer_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Host and port of the client; ``None`` over a Unix socket."""
    return _host_and_port(transport.get_extra_info("peername"))


def own_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Host and port that the client connected to; ``None`` over a Unix socket."""
    return _host_and_port(transport.get_extra_info("sockname"))


def _host_and_port(name: object) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
