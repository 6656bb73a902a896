"""The request target and the addresses of a connection, as messages carry them."""

from __future__ import annotations

import asyncio
import functools
import re
import urllib.parse

_HOST = re.compile(rb"(?:\[[0-9a-fA-F:.]+(?:%25[\w.~-]+)?\]|[\w.~!$&'()*+;=%-]*)(?::[0-9]*)?").fullmatch
"""A host, with a port or without, of RFC 3986, section 3.2; no comma, which joins the values of two fields."""


class Refusal(Exception):
    """A request that is answered with this status, without asking a worker."""

    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(status, reason)


class BadTarget(Refusal):
    """A request target that is not one (RFC 9112, section 3.2)."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


def split_target(target: bytes, method: str) -> tuple[str, bytes, bytes | None]:
    """Split a request target into the decoded path, the raw query string, and the authority if it names one.

    Percent escapes are decoded as UTF-8; what is not UTF-8 becomes U+FFFD. Only the absolute form has an
    authority, which takes the place of the Host field (RFC 9112, section 3.2.2). ``OPTIONS *`` gives ``*``.

    >>> split_target(b"/caf%C3%A9?a=%20", "GET")
    ('/café', b'a=%20', None)

    Raises:
        BadTarget
    """
    authority = None
    target = target.partition(b"#")[0]
    if not target.startswith(b"/"):
        target, authority = _from_absolute(target, method)
    raw, _, query = target.partition(b"?")
    try:
        path = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadTarget("bytes above 127 in the request target") from None
    return (urllib.parse.unquote(path) if "%" in path else path), query, authority


@functools.lru_cache(256)  # nearly all requests name the same few
def check_host(host: bytes) -> None:
    """Raise `BadTarget` for a value that cannot be a Host field (RFC 9112, section 3.2)."""
    if _HOST(host) is None:
        raise BadTarget("the Host is not a host name or address with an optional port")


def _from_absolute(target: bytes, method: str) -> tuple[bytes, bytes | None]:
    """Path with query, and authority, of a target that is not a path."""
    if target == b"*" and method == "OPTIONS":
        return target, None
    scheme, mark, rest = target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        raise BadTarget("the request target is not a path")
    end = next((at for at, byte in enumerate(rest) if byte in b"/?"), len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority.partition(b":")[0]:
        raise BadTarget("the request target names no host")
    check_host(authority)
    return path if path.startswith(b"/") else b"/" + path, authority


def peer_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Host and port of the client; ``None`` over a Unix socket."""
    return _host_and_port(transport.get_extra_info("peername"))


def own_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Host and port that the client connected to; ``None`` over a Unix socket."""
    return _host_and_port(transport.get_extra_info("sockname"))


def _host_and_port(name: object) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
