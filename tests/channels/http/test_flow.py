"""`channels.http.flow`: a long response no faster than its connection takes it over."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import pytest

from channel_layer.exceptions import ChannelFull, LayerUnavailable
from channels.http import flow
from channels.http.flow import BROKEN_OFF, MAX_IN_FLIGHT, AsyncPacedSender, BrokenOff, ClientGone, PacedSender
from tests.conftest import wait_until
from workers.streams import Streams, current_streams

from ..messages import deliveries, replies, request

PART = {"content": b"x" * 262_144, "more_content": True}
WINDOW = MAX_IN_FLIGHT // 262_144
OLD_FLOW = "http.response.flow?x"
"""What a request names whose sender reports progress."""


@pytest.fixture(params=["thread", "coroutine"])
def sender(request: pytest.FixtureRequest, layer: Any, streams: Streams) -> Iterator[Any]:
    """A sender of either kind: ``send(part)`` and ``sent`` (how many have been), as a producer would use it."""
    with contextlib.closing((InThread if request.param == "thread" else InCoroutine)(layer, streams)) as made:
        yield made


class InThread:
    """Sends from the thread that calls."""

    def __init__(self, layer: Any, streams: Streams) -> None:
        self.sent = 0
        self._sender = self.make(layer)
        self._streams = streams

    def make(self, layer: Any) -> Any:
        return PacedSender(request(layer, flow=OLD_FLOW))

    def send(self, part: dict[str, Any]) -> None:
        self._sender.send(part)
        self.sent += 1

    def begin(self, parts: list[dict[str, Any]]) -> Callable[[], BaseException | None]:
        """Send in the background; what is returned waits for the end and gives the error."""
        failed: list[BaseException] = []
        token = self._streams

        def produce() -> None:
            current_streams.set(token)
            try:
                for part in parts:
                    self.send(part)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=produce)
        thread.start()

        def end() -> BaseException | None:
            thread.join(20)
            assert not thread.is_alive()
            return failed[0] if failed else None

        return end

    def close(self) -> None:
        self._sender.close()


class InCoroutine(InThread):
    """Sends from a task on the worker's event loop."""

    def make(self, layer: Any) -> Any:
        self._layer = layer
        return None

    def send(self, part: dict[str, Any]) -> None:
        self._run(self._send([part]))

    def begin(self, parts: list[dict[str, Any]]) -> Callable[[], BaseException | None]:
        future = asyncio.run_coroutine_threadsafe(self._send(parts), self._streams._loop.get())

        def end() -> BaseException | None:
            try:
                future.result(20)
            except BaseException as error:
                return error
            return None

        return end

    async def _send(self, parts: list[dict[str, Any]]) -> None:
        if self._sender is None:
            self._sender = AsyncPacedSender(request(self._layer, flow=OLD_FLOW))
        self._sender._task = asyncio.current_task()
        for part in parts:
            await self._sender.send(part)
            self.sent += 1

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._streams._loop.get()).result(20)

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(flow, "STALL_SECONDS", 0.02)


def test_each_message_is_sent_before_send_returns_and_the_first_says_where_to_report(layer: Any, sender: Any) -> None:
    for _ in range(2):
        sender.send(PART)
    first, second = deliveries(layer)
    assert (first.message, second.message) == (PART, PART)
    assert set(first.headers or ()) == {"flow"}
    assert (first.headers or {})["flow"].startswith("worker.")
    assert second.headers is None


@pytest.mark.usefixtures("impatient")
def test_no_more_than_two_mebibytes_are_under_way(layer: Any, sender: Any) -> None:
    for _ in range(WINDOW):
        sender.send(PART)
    with pytest.raises(ClientGone, match=r"has taken nothing for 0\.02 seconds"):
        sender.send(PART)
    assert sum(len(reply["content"]) for reply in replies(layer)) == MAX_IN_FLIGHT


def test_what_was_taken_over_makes_room_and_reports_out_of_order_take_nothing_back(layer: Any, sender: Any) -> None:
    end = sender.begin([PART] * 20)
    [first, *_] = wait_until(lambda: deliveries(layer), "the first message")
    reports = first.headers["flow"]
    for written, room in ((524_288, 10), (1_048_576, 12), (10, 12), (3_145_728, 20)):
        layer.send(reports, {"written": written})
        wait_until(lambda room=room: sender.sent >= room, f"{room} messages")
        assert sender.sent == room
    assert end() is None


def test_one_message_may_be_larger_than_all_that_is_allowed(
    layer: Any, sender: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "MAX_IN_FLIGHT", 1000)
    large = {"content": b"x" * 1_000_000, "more_content": True}
    sender.send(large)
    assert replies(layer) == [large]


def test_a_client_that_leaves_ends_a_wait_at_once(layer: Any, sender: Any) -> None:
    end = sender.begin([PART] * (WINDOW + 1))
    wait_until(lambda: sender.sent == WINDOW, "a full window")
    layer.send(deliveries(layer)[0].headers["flow"], {"closed": True})
    assert isinstance(end(), (ClientGone, futures.CancelledError))


def test_one_that_left_long_ago_gets_nothing_more(layer: Any, sender: Any) -> None:
    sender.send(PART)
    layer.send(deliveries(layer)[0].headers["flow"], {"closed": True})
    wait_until(lambda: sender._sender.is_gone, "the report")
    with pytest.raises(ClientGone, match="the client went away"):
        sender.send(PART)
    assert replies(layer) == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("inside_a_worker", [True, False])
def test_without_reports_the_channels_capacity_is_the_only_limit(
    layer: Any, streams: Streams, inside_a_worker: bool
) -> None:
    token = current_streams.set(streams if inside_a_worker else None)
    with contextlib.closing(PacedSender(request(layer, flow=None if inside_a_worker else OLD_FLOW))) as paced:
        for _ in range(WINDOW + 1):
            paced.send(PART)
    current_streams.reset(token)
    found = deliveries(layer)
    assert len(found) == WINDOW + 1
    assert found[0].headers is None


REFUSALS = [ChannelFull("x"), LayerUnavailable("here", "away", uncertain=False), None]


@pytest.mark.parametrize("refusal", REFUSALS, ids=repr)
def test_it_waits_while_its_channel_is_full_or_away(
    layer: Any, sender: Any, monkeypatch: pytest.MonkeyPatch, refusal: Any
) -> None:
    refuse(layer, monkeypatch, refusal, times=3)
    sender.send(PART)
    assert replies(layer) == [PART]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("refusal", REFUSALS, ids=repr)
def test_it_ends_when_that_does_not_end(layer: Any, sender: Any, monkeypatch: pytest.MonkeyPatch, refusal: Any) -> None:
    refuse(layer, monkeypatch, refusal, times=10_000)
    with pytest.raises(ClientGone, match="its channel has been full or away for"):
        sender.send(PART)


def test_what_may_have_been_stored_is_not_sent_again(layer: Any, sender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(layer, monkeypatch, LayerUnavailable("here", "cut"), times=1)
    with pytest.raises(LayerUnavailable):
        sender.send(PART)
    assert replies(layer) == []


def refuse(layer: Any, monkeypatch: pytest.MonkeyPatch, refusal: Exception | None, times: int) -> None:
    """Have the layer refuse its messages so many times: raise, or say that the channel is full."""
    real, left = layer.channel_layer.send_batch, [None] * times

    def send_batch(items: Any) -> Any:
        if not left:
            return real(items)
        left.pop()
        if refusal is not None:
            raise refusal
        return list(items)

    async def asend_batch(items: Any) -> Any:
        return send_batch(items)

    monkeypatch.setitem(layer.__dict__, "send_batch", send_batch)
    monkeypatch.setitem(layer.__dict__, "asend_batch", asend_batch)


@pytest.mark.parametrize("finite", [False, True])
def test_a_worker_that_stops_ends_only_what_has_no_known_end(layer: Any, streams: Streams, finite: bool) -> None:
    with contextlib.closing(PacedSender(request(layer, flow=OLD_FLOW), is_finite=finite)) as paced:
        paced.send(PART)
        streams.wind_up()
        with contextlib.nullcontext() if finite else pytest.raises(BrokenOff, match="the worker stops"):
            paced.send(PART)


def test_a_thread_that_waits_notices_that_its_worker_stops(
    layer: Any, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "LOOK_SECONDS", 0.01)
    sender = InThread(layer, streams)
    end = sender.begin([PART] * (WINDOW + 1))
    wait_until(lambda: sender.sent == WINDOW, "a full window")
    streams.wind_up()
    assert isinstance(end(), BrokenOff)
    sender.close()


def test_a_worker_that_ends_breaks_off_what_threads_have_not_finished(layer: Any, streams: Streams) -> None:
    finished, unfinished = (PacedSender(request(layer, flow=OLD_FLOW)) for _ in range(2))
    finished.close()
    streams.close()
    assert replies(layer) == [BROKEN_OFF]
    unfinished.close()


def test_a_connection_that_cannot_be_told_of_the_end_is_no_error(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(layer, monkeypatch, LayerUnavailable("here", "away"), times=2)
    message = request(layer)
    PacedSender(message).break_off()

    async def main() -> None:
        await AsyncPacedSender(message).send_at_all(BROKEN_OFF)

    asyncio.run(main())
    assert replies(layer) == []
