"""The event loop of web servers and workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
"""Make an event loop: uvloop's, which costs a frame the least, or asyncio's where there is none for the platform."""
with contextlib.suppress(ImportError):
    from uvloop import new_event_loop as new_event_loop
