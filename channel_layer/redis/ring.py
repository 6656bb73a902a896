"""Hash ring: assigns each channel to one of several Redis servers."""

from __future__ import annotations

import bisect
import hashlib

POINTS_PER_HOST = 1024
"""Places a host has on the ring. The fullest of eight has some 5 % above its share so; with 128 places it has 12 %."""


class HashRing:
    """Consistent hashing: when a host is added to ``n``, about one channel in ``n + 1`` moves.

    Args:
        hosts: identities of the servers, in any order. Every process must be given the same ones.
    """

    def __init__(self, hosts: list[str]) -> None:
        points = sorted(
            (self._position(f"{host}#{point}"), index)
            for index, host in enumerate(hosts)
            for point in range(POINTS_PER_HOST if len(hosts) > 1 else 1)
        )
        self._positions = [position for position, _ in points]
        self._owners = [index for _, index in points]
        self._single = len(hosts) == 1

    def host_of(self, name: str) -> int:
        """Index of the host that holds ``name``: a channel, or a reader's name up to ``!``."""
        if self._single:
            return 0
        at = bisect.bisect(self._positions, self._position(name)) % len(self._positions)
        return self._owners[at]

    @staticmethod
    def _position(name: str) -> int:
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
