"""The client's address behind trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from ..options import ANY_PEER

Address = tuple[str, int]

_SCHEMES = {b"https": True, b"wss": True, b"http": False, b"ws": False}


class TrustedProxies:
    """Reads ``X-Forwarded-For``, ``-Port`` and ``-Proto``, as long as trusted proxies wrote them.

    Each proxy appends the peer it saw, so the list is walked from the right and the first address
    that is not a trusted proxy is the client: whatever stands left of it, the client may have invented.

    Args:
        networks: addresses or networks of the proxies; ``*`` trusts every peer, for one hop.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        names = list(networks)
        self._any_peer = ANY_PEER in names
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names if name != ANY_PEER]
        self._is_proxy = lru_cache(maxsize=1024)(self._look_up)

    def trusts_peer(self, peer: Address | None) -> bool:
        """True if the peer is a trusted proxy. A peer without address came over a Unix socket."""
        return peer is None or self._any_peer or self._is_proxy(peer[0])

    def client(self, peer: Address | None, headers: Sequence[tuple[bytes, bytes]]) -> Address | None:
        """Address of the client. A port that is not beside it stands in ``X-Forwarded-Port``, or is 0."""
        if not self.trusts_peer(peer):
            return peer
        original = peer
        listed = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        for entry in reversed(listed.decode("latin-1").split(",")):
            address = _parse(entry.strip())
            if address is None:
                break
            peer = address
            if not self._is_proxy(address[0]):
                break
        if peer is not original and peer is not None and not peer[1]:
            return peer[0], _port(_nearest(headers, b"x-forwarded-port"))
        return peer

    def is_secure(self, peer: Address | None, headers: Sequence[tuple[bytes, bytes]]) -> bool | None:
        """True if the client came over TLS; ``None`` if no trusted proxy says so."""
        if not self.trusts_peer(peer):
            return None
        return _SCHEMES.get(_nearest(headers, b"x-forwarded-proto").lower())

    def _look_up(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _nearest(headers: Sequence[tuple[bytes, bytes]], field: bytes) -> bytes:
    """The nearest proxy's part of a header: the last item of its list, which may be empty."""
    values = [value for name, value in headers if name == field]
    return values[-1].rsplit(b",", 1)[-1].strip() if values else b""


def _port(digits: str | bytes) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0


def _parse(entry: str) -> Address | None:
    """``host``, ``host:port`` or ``[v6]:port``; ``None`` for what is not an address."""
    host, port = entry, "0"
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = rest[1:] or "0"
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return host, _port(port)
