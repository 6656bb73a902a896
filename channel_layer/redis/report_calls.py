"""Calls that keep and fetch the reports of processes, and the meaning of the answers. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from ..codec import InvalidFrame
from . import scripts
from .scripts import TIME, Call, Reply, plain
from .storage import Storage

_stamps = struct.Struct(">dd")


class ReportCalls:
    """Builds calls for one layer.

    Args:
        storage: of the layer. The report of a process lies on the server that its name leads to.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, name: str, data: bytes, seconds: float) -> tuple[int, Call]:
        """Keep an encoded report for so many seconds; with the server to keep it on."""
        shard, sealer = self._storage.host_of(name), self._storage.sealer
        keys = self._storage.keys[shard]
        if sealer is not None:
            data = sealer.for_report(name, data, seconds)
        call = Call(scripts.REPORT, [keys.reports, keys.report_ends], [name, int(seconds * 1000), data])
        return shard, call

    def fetch(self, shard: int) -> list[Call]:
        """Ask a server for the reports that it keeps, and for its time."""
        return [plain("HGETALL", self._storage.keys[shard].reports), TIME]

    def fetched(self, found: Reply, now: Reply) -> Iterator[tuple[str, bytes | None, float]]:
        """Name, encoded report and age of each that is still kept; ``None`` for one that cannot be opened."""
        ms = int(now[0]) * 1000 + int(now[1]) / 1000
        # A dict, or a list that alternates, after the version of the protocol.
        pairs = found.items() if isinstance(found, Mapping) else zip(found[::2], found[1::2], strict=True)
        for key, value in pairs:
            if len(value) < _stamps.size:
                continue
            made, ends = _stamps.unpack_from(value)
            if ends > ms:
                name = key.decode("utf-8", "replace")
                yield name, self._opened(name, bytes(value[_stamps.size :]), ms), max(0.0, ms - made) / 1000

    def _opened(self, name: str, data: bytes, ms: float) -> bytes | None:
        if self._storage.sealer is None:
            return data
        try:
            return self._storage.sealer.open_report(name, data, ms / 1000)
        except InvalidFrame:
            return None
