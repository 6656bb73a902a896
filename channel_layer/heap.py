"""Memory that web servers and workers have freed: kept for the next message, and given back a while later.

By default glibc gives the end of a heap back to the system as soon as a little of it is free, and asks for the same
pages again for the next message. With messages of a megabyte the pages then take more time than the copies. It stops by
itself in a process that has freed a block of 32 MiB (mallopt(3), ``M_MMAP_THRESHOLD``), but then keeps it for good.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

KEPT_SECONDS = 10.0
"""Time after which freed memory goes back to the system, at most."""

_TRIM_THRESHOLD, _TRIM_BYTES = -1, 67_108_864
_MMAP_THRESHOLD, _MMAP_BYTES = -3, 33_554_432
"""Parameters of ``mallopt``, and the values at which glibc itself ends up."""

_OF_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


class Heap:
    """The heap of this process. Thread-safe.

    Args:
        library: the C library. Only glibc has what is needed; with another one nothing is done.

    Attributes:
        keeps_freed: true once `keep_freed` has had an effect.
    """

    def __init__(self, library: Any) -> None:
        self._trim = getattr(library, "malloc_trim", None)
        self._set = getattr(library, "mallopt", None)
        self.keeps_freed = False

    def keep_freed(self) -> None:
        """Have what is freed kept from now on, before the process works. `give_back` is then due every `KEPT_SECONDS`.

        Everything stays as it is where the environment has settings of its own (mallopt(3), ``GLIBC_TUNABLES``).
        """
        if self._trim is None or self._set is None or any(name in os.environ for name in _OF_USER):
            return
        self._set(_MMAP_THRESHOLD, _MMAP_BYTES)
        self._set(_TRIM_THRESHOLD, _TRIM_BYTES)
        self.keeps_freed = True

    def give_back(self) -> None:
        """Give freed memory back to the system.

        It takes 0.01 ms if there is little, and about a millisecond for a few dozen MiB. Python goes on meanwhile, but
        whoever needs memory waits.
        """
        if self._trim is not None:
            self._trim(0)


heap = Heap(ctypes.CDLL(None))
