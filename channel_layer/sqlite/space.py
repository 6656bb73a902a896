"""Keeping some space on the device, so that messages can be taken when there is none for more.

Taking writes, too. A device that is full of messages to the last byte would keep them for ever: nothing could be taken,
and not even what has expired could be removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .errors import no_space

RESERVE = 10 * 1024 * 1024
"""Bytes to keep: for the log, which is merged into the file when it has a thousand pages, what that grows by, and a
batch. Of a small device half is kept, so that what is used can be merged into the rest."""

TRANSACTION_BYTES = 16_384
"""Bytes that a small transaction adds to the log: a few pages."""


class Space:
    """For one file. Thread-safe as far as it matters: what threads count wrong is a small part of the reserve.

    Args:
        path: the file.
        merge_log: makes the file as small as it can be at once and returns how many bytes inside it are free.
    """

    def __init__(self, path: Path, merge_log: Callable[[], int]) -> None:
        self._path = path
        self._merge_log = merge_log
        self._left = 0

    def claim(self, size: int) -> None:
        """Say that a transaction is to write so many bytes; looks at the device now and then.

        Raises:
            LayerUnavailable: they would not leave enough.
        """
        self._left -= size + TRANSACTION_BYTES
        if self._left < 0:
            self._left = self._look(size)

    def _look(self, size: int) -> int:
        """Raise unless there is enough; returns how much may be written until the next look."""
        free, total = self._measure()
        reserve = min(RESERVE, total // 2)
        if free < reserve + size:
            spare = self._merge_log()
            free, _ = self._measure()
            if free + spare < reserve + size:
                raise no_space(self._path)
        return reserve // 32

    def _measure(self) -> tuple[int, int]:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
