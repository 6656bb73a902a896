from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from channel_layer.delivery import ALIVE, SHARED, Delivery
from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.broadcast import Broadcast, Event
from interface_server.bridge.downlink import BATCH, BATCH_BYTES, EVENTS_AT_A_TIME, LEAST_BATCH, Downlink, next_limit
from interface_server.bridge.hosts import Hosts
from interface_server.bridge.replies import Reply
from interface_server.bridge.uplink import Uplink
from tests.interface_server.fakes import FlakyLayer, QuietContext
from tests.interface_server.helpers import become

NAME = "daphne.test!"


class Ear:
    """A connection that remembers what came."""

    def __init__(self, bad: bool = False) -> None:
        self.got: list[Any] = []
        self._bad = bad

    def deliver(self, message: dict[str, Any], headers: dict[str, Any] | None) -> None:
        if self._bad:
            raise RuntimeError("a fault of this connection")
        self.got.append((message, headers))

    def apply(self, reply: Reply) -> None:
        self.got.append(reply)


class Case:
    """A running downlink."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.ears = {"a": Ear(), "b": Ear(), "bad": Ear(bad=True)}
        self.context = QuietContext(layer)
        self.context.name = NAME
        self.context.connections.update(self.ears)  # type: ignore[arg-type]
        self.uplink = self.context.uplink = Uplink(layer, self.context.options)
        self.context.hosts = Hosts(NAME, self.uplink, self.context.connections)
        self.downlink = Downlink(self.context)


def with_downlink(layer: Any, test: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        case = Case(layer)
        task = asyncio.create_task(case.downlink.run())
        try:
            async with asyncio.timeout(20):
                await test(case)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_message_goes_to_the_connection_behind_the_mark_in_order() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        layer.send_batch([layer.prepare(NAME + "a", {"n": number}, {"turn": number}) for number in range(3)])
        layer.send(NAME + "nobody", {})
        layer.send(NAME + "bad", {})
        layer.send(NAME + "b", {"n": 9})
        await become(lambda: case.ears["b"].got)
        assert case.ears["a"].got == [({"n": number}, {"turn": number}) for number in range(3)]
        assert case.ears["b"].got == [({"n": 9}, None)]

    with_downlink(layer, test)


def test_what_was_handed_out_is_not_held_while_the_next_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interface_server.bridge.downlink.WAIT_SECONDS", 60.0)

    class Content(dict[str, Any]):
        """A message whose end can be seen."""

    class Watched(MemoryChannelLayer):
        async def areceive_batch(self, *arguments: Any, **options: Any) -> list[Delivery]:
            deliveries = await super().areceive_batch(*arguments, **options)
            for delivery in deliveries:
                delivery.message = Content(delivery.message)
                seen.append(weakref.ref(delivery.message))
            return deliveries

    seen: list[weakref.ref[Any]] = []
    layer = Watched()

    async def test(case: Case) -> None:
        layer.send(NAME + "nobody", {"content": b"large"})
        await become(lambda: seen)
        await become(lambda: seen[0]() is None)

    with_downlink(layer, test)


def test_the_producer_of_a_response_to_nobody_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        writing = asyncio.create_task(case.uplink.run())
        first = {"status": 200, "more_content": True}
        layer.send_batch([layer.prepare(NAME + "gone", first, {"flow": "no channel"})])
        layer.send_batch([layer.prepare(NAME + "gone", first, {"flow": "worker.a!7"})])
        heard = await layer.areceive_batch(["worker.a!"], timeout=30)
        assert [(found.channel, found.message) for found in heard] == [("worker.a!7", {"closed": True})]
        writing.cancel()

    with_downlink(layer, test)
    assert "hears nothing" in caplog.text


def test_an_instance_that_was_made_again_too_late_is_ended() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        writing = asyncio.create_task(case.uplink.run())
        for local, headers in (("gone", {"epoch": 0, "lease": "worker.a!1"}), ("gone", {"epoch": 3, "lease": None})):
            layer.send_batch([layer.prepare(NAME + local, {}, headers)])  # type: ignore[arg-type]
        layer.send_batch([layer.prepare(NAME + "gone", {}, {"epoch": 3, "lease": "worker.a!7"})])
        heard = await layer.areceive_batch(["worker.a!"], limit=9, timeout=30)
        assert [(found.channel, found.message) for found in heard] == [("worker.a!7", {"gone": True})]
        writing.cancel()

    with_downlink(layer, test)


def test_members_of_a_group_share_one_reply_and_those_that_are_gone_are_forgotten() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        for local in ("a", "b", "gone"):
            layer.group_add("g", NAME + local)
        layer.send_group("g", {"text": "x"})
        await become(lambda: case.context.departures._gone)
        assert case.ears["a"].got[0] is case.ears["b"].got[0]
        assert case.context.departures._gone == {NAME + "gone"}

    with_downlink(layer, test)


class Guest(Ear):
    """A connection whose instance a worker has."""

    def __init__(self, number: int, uplink: Uplink) -> None:
        super().__init__()
        self._number, self._uplink = number, uplink

    def take_shared(self, broadcast: Broadcast) -> None:
        self.got.append(len(self._uplink._queue))
        broadcast.add(f"worker.a!{self._number}", self, Event(1, broadcast.content, 0))  # type: ignore[arg-type]


def test_an_event_goes_to_the_worker_of_the_first_members_while_the_next_are_joined() -> None:
    layer = MemoryChannelLayer()
    count = 2 * EVENTS_AT_A_TIME + 1

    async def test(case: Case) -> None:
        guests = [Guest(number, case.uplink) for number in range(count)]
        for number, guest in enumerate(guests):
            case.context.connections[str(number)] = guest  # type: ignore[assignment]
            layer.group_add("g", f"{NAME}{number}")
        layer.send_group("g", {"type": "chat.message"})
        await become(lambda: guests[-1].got)
        waiting = [guest.got[0] for guest in guests]
        assert waiting == [number // EVENTS_AT_A_TIME for number in range(count)]

    with_downlink(layer, test)


def test_a_bad_message_to_a_group_is_ignored() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        layer.group_add("g", NAME + "a")
        layer.send_group("g", {"text": "x", "bytes": b"x"})
        layer.send_group("g", {"text": "good"})
        await become(lambda: case.ears["a"].got)
        assert case.ears["a"].got[0].payload.data == "good"

    with_downlink(layer, test)


def test_it_outlives_an_outage_and_tells_the_uplink_of_its_ends() -> None:
    layer = FlakyLayer()

    async def test(case: Case) -> None:
        layer.away = True
        await become(lambda: case.uplink.down)
        layer.away = False
        layer.send(NAME + "a", {"n": 1})
        await become(lambda: case.uplink.down is None)
        await become(lambda: case.ears["a"].got)

    with_downlink(layer, test)


class Failing(MemoryChannelLayer):
    """Fails once after so long, then receives when the test says."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure: Exception | None = failure
        self.answers = asyncio.Event()

    async def areceive_batch(self, channels: Any, limit: int = 1, timeout: float = 0) -> Any:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        await self.answers.wait()
        return await super().areceive_batch(channels, limit, timeout)


def test_a_connection_that_ends_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    layer = Failing(LayerUnavailable("here", "closed by server"))
    layer.answers.set()
    layer.send(NAME + "a", {"n": 1})

    async def test(case: Case) -> None:
        await become(lambda: case.ears["a"].got)

    with_downlink(layer, test)
    assert [record.message for record in caplog.records] == [
        "a connection to the channel layer ended, and another took its place: "
        "channel layer at here is unavailable: closed by server"
    ]


def test_a_layer_that_does_not_answer_after_a_failure_is_away_until_it_does() -> None:
    layer = Failing(LayerUnavailable("here", "closed by server"))

    async def test(case: Case) -> None:
        await become(lambda: case.uplink.down)
        layer.answers.set()
        await become(lambda: case.uplink.down is None)

    with_downlink(layer, test)


def test_a_layer_that_refuses_us_is_away_at_once() -> None:
    layer = Failing(LayerUnusable("here", "wrong password"))

    async def test(case: Case) -> None:
        await become(lambda: layer.failure is None)
        assert isinstance(case.uplink.down, LayerUnusable)

    with_downlink(layer, test)


def test_an_outage_that_only_the_uplink_saw_ends_too() -> None:
    layer = FlakyLayer()

    async def test(case: Case) -> None:
        case.uplink.mark_down(LayerUnavailable("here", "one failed write"))
        await become(lambda: case.uplink.down is None)

    with_downlink(layer, test)


def test_each_answer_of_the_layer_tells_the_uplink_since_when_the_process_is_in_touch() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        asked: list[float] = []
        case.uplink.confirm = asked.append  # type: ignore[method-assign]
        began = asyncio.get_running_loop().time()
        layer.send(NAME + "a", {})
        await become(lambda: case.ears["a"].got)
        layer.send(NAME + "a", {})
        await become(lambda: len(asked) > 1)
        assert asked == sorted(asked)
        assert asked[0] <= began + 1

    with_downlink(layer, test)


def batch(count: int, **message: Any) -> list[Delivery]:
    return [Delivery(NAME + "a", dict(message)) for _ in range(count)]


def test_many_small_messages_are_received_at_once_and_few_large_ones() -> None:
    limit = LEAST_BATCH
    for _ in range(10):
        limit = next_limit(limit, batch(limit, text="x" * 100))
    assert limit == BATCH
    limit = next_limit(limit, batch(limit, content=bytes(65_536)))
    assert limit == BATCH_BYTES // 65_536
    assert next_limit(limit, batch(limit, content=bytes(65_536))) == limit
    assert next_limit(limit, batch(limit, content=bytes(1_000_000))) == LEAST_BATCH
    assert next_limit(BATCH, batch(BATCH // 2)) == BATCH
    assert next_limit(8, batch(8, text=5, content=None)) == 16


@pytest.mark.parametrize("limit", [32, 64, 128])
def test_batches_of_all_sizes_under_load_leave_the_limit_as_it_is(limit: int) -> None:
    assert {next_limit(limit, batch(count)) for count in (8, 16, 24, 31)} == {limit}


def test_after_a_quiet_time_it_begins_with_few_again() -> None:
    limit = BATCH
    for _ in range(10):
        limit = next_limit(limit, batch(1))
    assert limit == LEAST_BATCH
    assert next_limit(limit, batch(0)) == LEAST_BATCH


def test_it_halts_behind_what_it_has_received_and_takes_nothing_more() -> None:
    layer = MemoryChannelLayer()

    async def run() -> None:
        case = Case(layer)
        sending = asyncio.create_task(case.uplink.run())
        task = asyncio.create_task(case.downlink.run())
        await become(lambda: layer._sleepers)
        layer.send(NAME + "a", {"n": 1})
        case.downlink.halting = True
        case.downlink.wake()
        async with asyncio.timeout(20):
            await task
        layer.send(NAME + "a", {"n": 2})
        assert case.ears["a"].got == [({"n": 1}, None)]
        case.downlink.halting = False
        task = asyncio.create_task(case.downlink.run())
        await become(lambda: len(case.ears["a"].got) == 2)
        for each in (task, sending):
            each.cancel()

    asyncio.run(run())


def test_what_is_for_connections_of_another_process_goes_there() -> None:
    layer = MemoryChannelLayer()

    async def test(case: Case) -> None:
        passed: list[Any] = []
        case.downlink.elsewhere = passed.append
        for local in ("a", "other"):
            layer.group_add("all", NAME + local)
        layer.send(NAME + "other", {"n": 1})
        layer.send_group("all", {"text": "shared"})
        layer.send(NAME + SHARED, {"to": [["a", 0, 1], ["other", 0, 1]], "reply": {"text": "x"}})
        layer.send_batch([layer.prepare(NAME + ALIVE, {}, {"lease": "worker.a!", "flow": "worker.a!alive"})])
        layer.send(NAME + "last", {})
        await become(lambda: len(passed) == 5)
        direct, group, shared, alive, _ = passed
        assert (direct.channel, direct.message) == (NAME + "other", {"n": 1})
        assert (group.members, group.message) == (["other"], {"text": "shared"})
        assert shared.message["to"] == [["a", 0, 1], ["other", 0, 1]]
        assert alive.headers == {"lease": "worker.a!"}
        assert [reply.payload.data for reply in case.ears["a"].got[:1]] == ["shared"]

    with_downlink(layer, test)
