"""Reading what a file has in the system's cache, on an event loop that must not wait for a disk."""

from __future__ import annotations

import os

_AT_ONCE = getattr(os, "RWF_NOWAIT", None)  # of Linux alone


def read_cached(file: int, offset: int, into: memoryview) -> int:
    """Read from a file without waiting for its disk; returns how many bytes have come.

    None come at the file's end, if the cache has none of them, and where the system, or the file system, cannot tell.
    To hand a read to a thread and to hear of its end costs more than the read itself.
    """
    if _AT_ONCE is None:
        return 0
    try:
        return os.preadv(file, [into], offset, _AT_ONCE)
    except OSError:
        return 0  # whoever reads it in a thread gets the error
