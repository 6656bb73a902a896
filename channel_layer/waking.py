"""Receiving from a store that says when to look: for layers whose waiting receivers are woken by a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeAlias

from .delivery import Delivery

Waiting: TypeAlias = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Have a function called, in any thread and perhaps for nothing, while a block runs: when there may be messages."""


def receive(
    waiting: Waiting, look: Callable[[], list[Delivery]], timeout: float, is_over: Callable[[], bool]
) -> list[Delivery]:
    """Look for messages until there are some, for up to ``timeout`` seconds; blocks.

    Args:
        waiting: see `Waiting`. The first look comes after its block was entered.
        look: takes messages without waiting.
        is_over: ends the waiting early, once it is woken.
    """
    deadline = time.monotonic() + timeout
    arrived = threading.Event()
    with waiting(arrived.set):
        while True:
            deliveries = look()
            remaining = deadline - time.monotonic()
            if deliveries or remaining <= 0 or is_over():
                return deliveries
            arrived.wait(remaining)
            arrived.clear()


async def areceive(waiting: Waiting, look: Callable[[], Awaitable[list[Delivery]]], timeout: float) -> list[Delivery]:
    """Async form of `receive`. Waiting takes no thread."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    arrived = asyncio.Event()
    with waiting(partial(_set_in_loop, loop, threading.get_ident(), arrived)):
        while True:
            deliveries = await look()
            remaining = deadline - loop.time()
            if deliveries or remaining <= 0:
                return deliveries
            try:
                async with asyncio.timeout(remaining):
                    await arrived.wait()
            except TimeoutError:
                continue
            arrived.clear()


def _set_in_loop(loop: asyncio.AbstractEventLoop, thread: int, event: asyncio.Event) -> None:
    if threading.get_ident() == thread:
        event.set()
        return
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # the loop was closed while it waited here
        return
