"""Names for logs, and events from several sources."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

__all__ = ["await_many_dispatch", "name_that_thing"]


def name_that_thing(thing: object) -> str:
    """The dotted path of a function, method or class; that of its class for any other object.

    >>> name_that_thing(name_that_thing)
    'channels.utils.name_that_thing'
    """
    if isinstance(thing, functools.partial):
        return name_that_thing(thing.func)
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"


async def await_many_dispatch(
    consumer_callables: Sequence[Callable[[], Awaitable[object]]], dispatch: Callable[[Any], Awaitable[object]]
) -> None:
    """Pass the results of several sources on, one after the other, until something raises an exception.

    A source is asked again only after its last result has been dealt with. If several have one, the first source goes
    first.

    Args:
        consumer_callables: the sources; each call makes an awaitable for the next result.
        dispatch: deals with a result.
    """
    waiting = [asyncio.ensure_future(source()) for source in consumer_callables]
    try:
        while True:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for place, source in enumerate(consumer_callables):
                if waiting[place].done():
                    await dispatch(waiting[place].result())
                    waiting[place] = asyncio.ensure_future(source())
    finally:
        for future in waiting:
            future.cancel()
        # Whatever ended this is the exception to report, not what a source raises besides.
        await asyncio.gather(*waiting, return_exceptions=True)
