"""Frames of sync consumers on their way from a thread to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from channels.hosting import thread_sends
from channels.hosting.thread_sends import MOST_WAITING, ThreadSends

Event = dict[str, Any]


def frame(number: int) -> Event:
    return {"type": "websocket.send", "text": str(number)}


class Stage:
    """What was sent, and a handler that runs in a thread."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.heard = asyncio.Event()
        self.error: Exception | None = None
        self.sends = ThreadSends(self._send)

    async def _send(self, event: Event) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.sent.append(event)
        self.heard.set()

    async def run(self, handler: Callable[[], None]) -> None:
        self.sends.begin()
        try:
            await sync_to_async(handler)()
        finally:
            await self.sends.end()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(scene: Callable[[Stage], Coroutine[Any, Any, None]], quick: float = 60.0) -> None:
        monkeypatch.setattr(thread_sends, "QUICK_SECONDS", quick)

        async def on_stage() -> None:
            await asyncio.wait_for(scene(Stage()), 30)

        asyncio.run(on_stage())

    return run


def test_frames_of_a_quick_handler_are_passed_on_at_its_end_in_order(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        before: list[int] = []

        def handler() -> None:
            for number in range(5):
                stage.sends(frame(number))
            before.append(len(stage.sent))

        await stage.run(handler)
        assert before == [0]
        assert stage.sent == [frame(number) for number in range(5)]

    play(scene)


def test_frames_of_a_slow_handler_are_passed_on_while_it_runs(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        heard = [threading.Event() for _ in range(3)]
        send = stage._send

        async def sending(event: Event) -> None:
            await send(event)
            heard[int(event["text"])].set()

        stage.sends = ThreadSends(sending)

        def handler() -> None:
            for number in range(3):
                stage.sends(frame(number))
                assert heard[number].wait(20)

        await stage.run(handler)
        assert stage.sent == [frame(number) for number in range(3)]

    play(scene, quick=0.001)


def test_what_is_no_frame_goes_behind_the_frames_and_is_waited_for(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        def handler() -> None:
            stage.sends(frame(1))
            stage.sends({"type": "websocket.close"})
            assert stage.sent == [frame(1), {"type": "websocket.close"}]
            stage.error = ValueError("not that")
            with pytest.raises(ValueError, match="not that"):
                stage.sends({"type": "websocket.close"})
            stage.error = None

        await stage.run(handler)

    play(scene)


def test_behind_many_frames_the_thread_waits(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        def handler() -> None:
            for number in range(MOST_WAITING + 1):
                stage.sends(frame(number))
            assert len(stage.sent) == MOST_WAITING + 1

        await stage.run(handler)
        assert stage.sent == [frame(number) for number in range(MOST_WAITING + 1)]

    play(scene)


@pytest.mark.parametrize("quick", [60.0, 0.0])
def test_the_error_of_a_frame_ends_the_handler_with_it(play: Callable[..., None], quick: float) -> None:
    async def scene(stage: Stage) -> None:
        stage.error = ValueError("no such frame")
        with pytest.raises(ValueError, match="no such frame"):
            await stage.run(lambda: stage.sends(frame(1)))

    play(scene, quick)


def test_frames_before_the_error_of_a_handler_are_passed_on(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        def handler() -> None:
            stage.sends(frame(1))
            raise LookupError("of the handler")

        with pytest.raises(LookupError, match="of the handler"):
            await stage.run(handler)
        assert stage.sent == [frame(1)]

    play(scene)


def test_a_frame_that_another_thread_sends_between_two_events_is_passed_on(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        await stage.run(lambda: None)
        await asyncio.to_thread(stage.sends, frame(1))
        await stage.heard.wait()
        await stage.run(lambda: stage.sends(frame(2)))
        assert stage.sent == [frame(1), frame(2)]

    play(scene)
