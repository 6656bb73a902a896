"""Addresses of Redis servers from the configuration, and their form without secrets."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..exceptions import LayerConfigurationError

FORMS = "redis://host:port/0, rediss://… or unix:///path"
ENCODE = "write such characters of a user or password percent-encoded, as urllib.parse.quote(password, safe='') does"

_UNIX = "unix"
_SCHEMES = ("redis", "rediss", _UNIX)


@dataclass(frozen=True)
class ServerAddress:
    """An address in which everything has one meaning only.

    Messages quote nothing of one that has not: what is left of a password that was cut in two looks like a host or
    a port.

    Attributes:
        url: for redis-py.
        name: the same without user, password and options, fit for logs.
        options: redis-py's arguments that came with it.
        is_local: whether only this machine reaches the server there.
    """

    url: str
    name: str
    options: Mapping[str, Any]
    is_local: bool

    @classmethod
    def parse(cls, spec: Any, label: str, defaults: Mapping[str, Any]) -> ServerAddress:
        """Read an entry of ``hosts``.

        Args:
            spec: a URL, a ``(host, port)`` pair, or a dict of arguments for redis-py whose ``address`` may be either.
            label: what to call the entry.
            defaults: redis-py's arguments for all entries.

        Raises:
            LayerConfigurationError: for an entry that makes no sense or may mean two things. It quotes no part of it.
        """
        options = dict(defaults)
        if isinstance(spec, Mapping):
            own = dict(spec)
            address = own.pop("address", None)
            options = {**own, **options}
            spec = address if address is not None else (options.pop("host", "localhost"), options.pop("port", 6379))
        if isinstance(spec, Sequence) and not isinstance(spec, (str, bytes)) and len(spec) == 2:
            host, port = str(spec[0]), str(spec[1])
            spec = f"redis://{f'[{host}]' if ':' in host else host}:{port}/{options.get('db', 0)}"
            if "@" in spec:
                raise LayerConfigurationError(f"{label} has a host with '@'; give a password as 'password' in a dict")
        if not isinstance(spec, str):
            raise LayerConfigurationError(
                f"{label} is not one of: a URL, a (host, port) pair, a dict of redis-py arguments; "
                f"it is of type {type(spec).__name__}"
            )
        if spec.partition("://")[0] not in _SCHEMES or "://" not in spec:
            raise LayerConfigurationError(f"{label} is not a URL. Write it as {FORMS}")
        name, is_local = _read(spec, label)
        return cls(spec, name, options, is_local)


def _read(url: str, label: str) -> tuple[str, bool]:
    """Name and nearness of a URL that has one meaning only."""
    if "#" in url or not url.isprintable() or " " in url:
        raise LayerConfigurationError(f"{label} has a '#', a space or a control character; {ENCODE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise LayerConfigurationError(f"{label} has no readable host and port; {ENCODE}") from None
    if parts.scheme == _UNIX:
        return _read_path(parts, label)
    if "@" in parts.path or "@" in parts.query:
        raise LayerConfigurationError(f"{label} has an '@' behind a '/' or '?'; {ENCODE}")
    if not re.fullmatch(r"/?\d*/?", parts.path):
        raise LayerConfigurationError(f"{label} has a path that is not a database; write its number, as in {FORMS}")
    host = parts.hostname or "localhost"
    if not _is_host(host):
        raise LayerConfigurationError(f"{label} has no host that can be looked up. Write it as {FORMS}")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}", _is_this_machine(host)


def _read_path(parts: SplitResult, label: str) -> tuple[str, bool]:
    if parts.netloc and not parts.netloc.endswith("@"):
        raise LayerConfigurationError(f"{label} has something before the path that is not user:password@; {ENCODE}")
    return f"{_UNIX}://{parts.path}", True


def _is_host(host: str) -> bool:
    if ":" in host:
        return _ip_address(host) is not None
    try:
        return re.search(r"[^\w.-]", host.encode("idna").decode("ascii")) is None
    except UnicodeError:
        return False


def _is_this_machine(host: str) -> bool:
    address = _ip_address(host)
    return host == "localhost" if address is None else address.is_loopback


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
