"""Calls of which each depends on the answers before, apart from who makes them. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any

from ..exceptions import LayerUnavailable
from .scripts import Call, Reply

Steps = Generator[tuple[int, list[Call]], list[Reply], None]
"""Yields a server and the calls of one pipeline, and is sent the replies; errors of single calls are among them.
If the server fails, `LayerUnavailable` is thrown in."""


def walk(steps: Steps, run: Callable[[int, list[Call]], list[Reply]]) -> None:
    """Make the calls; ``run`` is a driver's."""
    answer: list[Reply] | LayerUnavailable | None = None
    while (step := _next(steps, answer)) is not None:
        try:
            answer = run(*step)
        except LayerUnavailable as error:
            answer = error


async def awalk(steps: Steps, run: Callable[[int, list[Call]], Awaitable[list[Reply]]]) -> None:
    """Async form of `walk`."""
    answer: list[Reply] | LayerUnavailable | None = None
    while (step := _next(steps, answer)) is not None:
        try:
            answer = await run(*step)
        except LayerUnavailable as error:
            answer = error


async def together(works: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Await all of them at the same time, and then raise the first error of any."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _next(steps: Steps, answer: list[Reply] | LayerUnavailable | None) -> tuple[int, list[Call]] | None:
    try:
        if isinstance(answer, LayerUnavailable):
            return steps.throw(answer)
        return next(steps) if answer is None else steps.send(answer)
    except StopIteration:
        return None
