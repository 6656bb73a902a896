"""The event loop of web servers and workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
"""Make an event loop: uvloop's, which costs a frame the least, or asyncio's where there is none for the platform."""
with contextlib.suppress(ImportError):
    from uvloop import new_event_loop as new_event_loop


def write_pieces(transport: asyncio.WriteTransport, pieces: Sequence[bytes]) -> None:
    """Write large pieces, without joining them where the event loop can.

    uvloop writes them with one system call. asyncio's `writelines` joins them up to Python 3.11, and some later
    versions of it go wrong with a connection that is lost, or with an empty piece.
    """
    if type(transport).__module__.startswith("uvloop"):
        transport.writelines(pieces)
    else:
        transport.write(b"".join(pieces))
