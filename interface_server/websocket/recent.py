"""The last events of one connection, for an operator who looks at it."""

from __future__ import annotations

import struct
import time
from typing import Final

KEPT: Final = 10
"""Events that are kept."""

WORDS: Final = (
    "opened",
    "frame from client",
    "frame to client",
    "turn over",
    "event for application",
    "worker changed",
    "reading paused",
    "reading resumed",
    "closing",
)
"""Kinds of events, each by its place."""

OPENED, RECEIVED, SENT, TURN_OVER, EVENT, WORKER, PAUSED, RESUMED, CLOSING = range(len(WORDS))

_EVENT = struct.Struct("<dBI")
_pack = _EVENT.pack
_TRIM = 2 * KEPT * _EVENT.size
_SURPLUS = KEPT * _EVENT.size


class Recent:
    """Times, kinds and sizes of the last events, packed: 400 bytes at most. Their content is never kept."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        self._packed = bytearray()

    def add(self, kind: int, size: int = 0) -> None:
        """Note an event that happens now."""
        packed = self._packed
        packed += _pack(time.time(), kind, size)
        if len(packed) >= _TRIM:
            del packed[:_SURPLUS]

    def events(self) -> list[tuple[float, str, int]]:
        """The last ones, the oldest first: seconds after 1970, a word, bytes."""
        return [(at, WORDS[kind], size) for at, kind, size in _EVENT.iter_unpack(self._packed[-_SURPLUS:])]
