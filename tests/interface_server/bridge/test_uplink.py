from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from channel_layer.delivery import LastWill, Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Outcome
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.scripts import plain
from interface_server.bridge import uplink as uplink_module
from interface_server.bridge.uplink import Uplink
from interface_server.options import Options
from tests.conftest import running_redis
from tests.interface_server.fakes import FlakyLayer
from tests.interface_server.helpers import become


class Ear:
    """A sender that remembers what it was told."""

    def __init__(self) -> None:
        self.stored: list[Outgoing] = []
        self.errors: list[ChannelLayerError] = []

    def sent(self, item: Outgoing) -> None:
        self.stored.append(item)

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        self.errors.append(error)


class CountingLayer(MemoryChannelLayer):
    """Counts writes, and lets them take a moment."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[int] = []
        self.writing = 0

    async def asend_batch(self, items: Any) -> Any:
        assert self.writing == 0, "two writes overlap"
        self.writing += 1
        await asyncio.sleep(0.001)
        self.writing -= 1
        self.batches.append(len(items))
        return await super().asend_batch(items)


def with_uplink(
    layer: Any,
    test: Callable[[Uplink], Coroutine[Any, Any, None]],
    max_bytes: int = 10_000_000,
    on_doubt: Callable[[Outgoing], None] = lambda item: None,
) -> None:
    async def run() -> None:
        uplink = Uplink(layer, Options(uplink_bytes=max_bytes), on_doubt)
        task = asyncio.create_task(uplink.run())
        try:
            async with asyncio.timeout(20):
                await test(uplink)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def idle(uplink: Uplink) -> None:
    await become(lambda: uplink.is_idle)


def test_what_is_queued_in_one_turn_of_the_loop_is_one_write() -> None:
    layer = CountingLayer()

    async def test(uplink: Uplink) -> None:
        await asyncio.sleep(0)
        for number in range(100):
            uplink.put(layer.prepare("c", {"n": number}))
        await idle(uplink)
        assert layer.batches == [100]
        assert [item.message["n"] for item in layer.receive_batch(["c"], limit=200)] == list(range(100))

    with_uplink(layer, test)


def test_what_comes_during_a_write_is_the_next_and_order_holds() -> None:
    layer = CountingLayer()

    async def test(uplink: Uplink) -> None:
        for number in range(2000):
            uplink.put(layer.prepare("c", {"n": number}))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await idle(uplink)
        assert len(layer.batches) < 1000
        assert [item.message["n"] for item in layer.receive_batch(["c"], limit=3000)] == list(range(2000))

    with_uplink(layer, test)


def test_an_impatient_sender_hears_of_a_full_channel_a_patient_one_waits() -> None:
    layer = MemoryChannelLayer(channel_capacity={"c": 1})
    layer.send("c", {"n": 0})

    async def test(uplink: Uplink) -> None:
        impatient, patient = Ear(), Ear()
        uplink.put(layer.prepare("c", {"n": 1}), impatient)
        entry = uplink.put(layer.prepare("c", {"n": 2}), patient, patient=True, report=True)
        await become(lambda: impatient.errors)
        assert isinstance(impatient.errors[0], ChannelFull)
        assert entry is not None
        assert not entry.stored_at
        assert not uplink.is_idle
        layer.receive_batch(["c"])
        await idle(uplink)
        assert entry.stored_at
        assert len(patient.stored) == 1
        assert patient.errors == []

    with_uplink(layer, test)


def test_a_cancelled_message_is_not_sent() -> None:
    layer = MemoryChannelLayer(channel_capacity={"c": 1})
    layer.send("c", {"n": 0})

    async def test(uplink: Uplink) -> None:
        entry = uplink.put(layer.prepare("c", {"n": 1}), patient=True)
        assert entry is not None
        await asyncio.sleep(0.02)
        entry.cancelled = True
        layer.receive_batch(["c"])
        await idle(uplink)
        assert layer.receive_batch(["c"]) == []

    with_uplink(layer, test)


def test_while_the_layer_is_away_the_impatient_are_refused_at_once_and_the_patient_kept() -> None:
    layer = FlakyLayer()
    layer.uncertain = False

    async def test(uplink: Uplink) -> None:
        layer.away = True
        first = Ear()
        uplink.put(layer.prepare("c", {"n": 0}), first)
        await become(lambda: uplink.down is not None)
        assert isinstance(first.errors[0], LayerUnavailable)
        assert uplink.put(layer.prepare("c", {"n": 1})) is None
        kept = uplink.put(layer.prepare("c", {"n": 2}), patient=True)
        assert kept is not None
        layer.away = False
        await asyncio.sleep(0.01)
        assert not kept.stored_at
        uplink.mark_up()
        await idle(uplink)
        assert [item.message["n"] for item in layer.receive_batch(["c"], limit=10)] == [2]

    with_uplink(layer, test)


def test_a_patient_message_of_unknown_fate_is_not_sent_twice() -> None:
    class StoresThenFails(MemoryChannelLayer):
        failing = True

        async def asend_batch(self, items: Any) -> Any:
            refused = await super().asend_batch(items)
            if self.failing:
                raise LayerUnavailable("here", "the answer was lost")
            return refused

    layer = StoresThenFails()

    async def test(uplink: Uplink) -> None:
        ear = Ear()
        uplink.put(layer.prepare("c", {}), ear, patient=True)
        await become(lambda: ear.errors)
        layer.failing = False
        uplink.mark_up()
        await idle(uplink)
        assert len(layer.receive_batch(["c"], limit=10)) == 1

    with_uplink(layer, test)


def test_what_waits_is_bounded_in_bytes_and_room_comes_back() -> None:
    layer = FlakyLayer()

    async def test(uplink: Uplink) -> None:
        uplink.mark_down(LayerUnavailable("here", "gone"))
        accepted = 0
        while uplink.put(layer.prepare("c", {"b": b"x" * 10_000}), patient=True) is not None:
            accepted += 1
        assert 5 <= accepted <= 10
        uplink.mark_up()
        await idle(uplink)
        assert uplink._bytes == 0
        assert uplink.put(layer.prepare("c", {}), patient=True) is not None

    with_uplink(layer, test, max_bytes=100_000)


@pytest.mark.parametrize("kept", [False, True])
def test_what_is_refused_counts_as_lost_unless_its_sender_keeps_it(kept: bool) -> None:
    layer = MemoryChannelLayer()

    async def test(uplink: Uplink) -> None:
        assert uplink.put(layer.prepare("x", {"bytes": bytes(1_000)}), patient=True, kept=kept) is None
        uplink.mark_down(LayerUnavailable("here", "away"))
        assert uplink.put(layer.prepare("x", {}), kept=kept) is None
        expected = {} if kept else {"no room to send": 1, "layer away": 1}
        assert dict(uplink._facts.lost) == expected

    with_uplink(layer, test, max_bytes=1_000)


def test_an_error_nobody_expected_does_not_end_the_writer() -> None:
    class Odd(MemoryChannelLayer):
        odd = True

        async def asend_batch(self, items: Any) -> Any:
            if self.odd:
                self.odd = False
                raise RuntimeError("odd")
            return await super().asend_batch(items)

    layer = Odd()

    async def test(uplink: Uplink) -> None:
        ear = Ear()
        uplink.put(layer.prepare("c", {}), ear)
        await become(lambda: ear.errors)
        assert isinstance(ear.errors[0], LayerUnavailable)
        uplink.mark_up()
        uplink.put(layer.prepare("c", {}))
        await idle(uplink)
        assert len(layer.receive_batch(["c"])) == 1

    with_uplink(layer, test)


def test_after_it_was_out_of_touch_nothing_is_sent_before_the_layer_has_answered() -> None:
    layer = CountingLayer()

    async def test(uplink: Uplink) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        uplink.confirm(loop.time() - layer.presence - 1)
        entry = uplink.put(layer.prepare("c", {"n": 1}))
        await asyncio.sleep(0.02)
        assert entry is not None
        assert not entry.stored_at
        uplink.confirm(loop.time())
        await idle(uplink)
        assert entry.stored_at

    with_uplink(layer, test)


def test_a_message_with_a_last_will_is_in_doubt_if_nobody_knows_whether_it_was_stored() -> None:
    layer = FlakyLayer()
    layer.away = True

    doubted: list[Outgoing] = []

    async def test(uplink: Uplink) -> None:
        plain, willed = layer.prepare("c", {}), layer.prepare("c", {})
        willed.last_will = LastWill("process!x", None)
        for item in (plain, willed):
            uplink.put(item, patient=True)
        await idle(uplink)
        assert doubted == [willed]

    with_uplink(layer, test, on_doubt=doubted.append)


def test_a_connection_that_ends_costs_what_was_on_it_and_is_no_outage_but_two_are() -> None:
    layer = FlakyLayer()

    async def test(uplink: Uplink) -> None:
        async def put_alone(number: int) -> Ear:
            ear = Ear()
            uplink.put(layer.prepare("c", {"n": number}), ear)
            await idle(uplink)
            return ear

        for number in (0, 2):
            layer.away = True
            assert len((await put_alone(number)).errors) == 1
            assert uplink.down is None
            layer.away = False
            assert not (await put_alone(number + 1)).errors
        assert [item.message["n"] for item in layer.receive_batch(["c"], limit=10)] == [1, 3]
        layer.away = True
        for number in (4, 5):
            await put_alone(number)
        assert uplink.down is not None

    with_uplink(layer, test)


def test_a_layer_that_gives_no_answer_in_time_is_away_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink_module, "DOUBT_SECONDS", 0)
    layer = FlakyLayer()
    layer.away = True

    async def test(uplink: Uplink) -> None:
        uplink.put(layer.prepare("c", {}))
        await become(lambda: uplink.down is not None)

    with_uplink(layer, test)


class Partly(MemoryChannelLayer):
    """A layer of which the channels ``away`` cannot be reached and ``cut`` give no answer."""

    away = True
    reachable = True

    async def asend_batch(self, items: Any) -> Any:
        unsent = [item for item in items if item.target.startswith("away") and self.away]
        unknown = [item for item in items if item.target == "cut"]
        refused = await super().asend_batch([item for item in items if item not in unsent])
        if unsent or unknown:
            outcome = Outcome(refused, unsent, unknown)
            raise LayerUnavailable("here", "partly gone", outcome=outcome, reachable=self.reachable)
        return refused


def test_each_message_is_dealt_with_by_what_became_of_it() -> None:
    layer = Partly(channel_capacity={"full": 1})
    layer.send("full", {})

    doubted: list[Outgoing] = []

    async def test(uplink: Uplink) -> None:
        ears = {name: Ear() for name in ("here", "full", "away", "cut")}
        items = {name: layer.prepare(name, {"n": 1}) for name in ears}
        for name in ("away", "cut"):
            items[name].last_will = LastWill("process!x", None)
        patient = Ear()
        await asyncio.sleep(0)
        for name, ear in ears.items():
            uplink.put(items[name], ear, report=True)
        kept = uplink.put(layer.prepare("away.too", {"n": 2}), patient, patient=True, report=True)
        assert kept is not None
        await become(lambda: ears["cut"].errors)
        assert ears["here"].stored == [items["here"]]
        assert isinstance(ears["full"].errors[0], ChannelFull)
        assert isinstance(ears["away"].errors[0], LayerUnavailable)
        assert doubted == [items["cut"]]
        assert uplink.down is None, "the rest of the layer goes on"
        assert uplink.put(layer.prepare("here", {"n": 3}), patient, report=True) is not None
        await become(lambda: patient.stored)
        layer.away = False
        await idle(uplink)
        assert [item.target for item in patient.stored] == ["here", "away.too"]
        assert patient.errors == []
        assert uplink._bytes == 0

    with_uplink(layer, test, on_doubt=doubted.append)


def test_a_channel_that_is_away_is_no_longer_full() -> None:
    layer = Partly(channel_capacity={"away": 1})
    layer.away = False
    layer.send("away", {})

    async def test(uplink: Uplink) -> None:
        entry = uplink.put(layer.prepare("away", {}), patient=True)
        assert entry is not None
        await become(lambda: entry.full_since)
        layer.away = True
        await become(lambda: not entry.full_since)
        layer.away = False
        layer.receive_batch(["away"])
        await idle(uplink)

    with_uplink(layer, test)


def test_if_nothing_of_the_layer_is_left_all_waits() -> None:
    layer = Partly()
    layer.reachable = False

    async def test(uplink: Uplink) -> None:
        ear = Ear()
        uplink.put(layer.prepare("away", {"n": 1}), ear, patient=True, report=True)
        await become(lambda: uplink.down is not None)
        assert uplink.put(layer.prepare("here", {})) is None
        layer.away = False
        uplink.mark_up()
        await idle(uplink)
        assert len(ear.stored) == 1

    with_uplink(layer, test)


def test_what_comes_later_for_a_channel_goes_behind_what_waits_for_it() -> None:
    layer = Partly()

    async def test(uplink: Uplink) -> None:
        uplink.put(layer.prepare("away", {"n": 0}), patient=True)
        await become(lambda: uplink._held)
        layer.away = False
        for n in (1, 2):
            uplink.put(layer.prepare("away", {"n": n}), patient=True)
            await asyncio.sleep(0)
        uplink.put(layer.prepare("other", {"n": 3}), patient=True)
        await idle(uplink)
        assert [item.message["n"] for item in layer.receive_batch(["away"], limit=9)] == [0, 1, 2]

    with_uplink(layer, test)


def test_on_a_redis_without_memory_requests_are_refused_at_once_and_sockets_wait(
    redis_server: str, tmp_path: Path
) -> None:
    with running_redis(redis_server, tmp_path, "--maxmemory-policy", "noeviction") as url:
        layer = RedisChannelLayer(hosts=[url])

        async def test(uplink: Uplink) -> None:
            layer._sync.run(0, [plain("CONFIG", "SET", "maxmemory", "1mb")])
            request, frame = Ear(), Ear()
            uplink.put(layer.prepare("websocket.receive", {"n": 1}), frame, patient=True, report=True)
            uplink.put(layer.prepare("http.request", {"n": 1}), request)
            await become(lambda: request.errors)
            assert isinstance(request.errors[0], LayerUnavailable)
            again = Ear()
            assert uplink.put(layer.prepare("http.request", {"n": 2}), again) is not None, "it may go through now"
            await become(lambda: again.errors)
            assert uplink.down is None
            layer._sync.run(0, [plain("CONFIG", "SET", "maxmemory", "0")])
            await idle(uplink)
            assert (len(frame.stored), frame.errors) == (1, [])
            assert len(layer.receive_batch(["websocket.receive"], limit=9)) == 1
            assert layer.receive_batch(["http.request"]) == []
            await layer.aclose()
            layer.close()

        with_uplink(layer, test)


def test_what_goes_to_one_process_keeps_its_order_although_its_channel_was_full() -> None:
    class Once(MemoryChannelLayer):
        """Has no room for the first message, and then for all."""

        stored: list[str] = []
        full = True

        async def asend_batch(self, items: Any) -> Any:
            full, self.full = self.full, False
            if full:
                return list(items)
            self.stored += [item.target for item in items]
            return []

    async def scene() -> None:
        layer = Once()
        uplink = Uplink(layer, Options())
        running = asyncio.create_task(uplink.run())
        uplink.confirm(asyncio.get_running_loop().time())
        uplink.put(layer.prepare("worker.a!shared", {}), patient=True)
        await become(lambda: not layer.full)
        for target in ("worker.a!1", "worker.b!1"):
            uplink.put(layer.prepare(target, {}), patient=True)
        await become(lambda: len(layer.stored) == 3)
        running.cancel()
        assert layer.stored.index("worker.a!shared") < layer.stored.index("worker.a!1")
        assert layer.stored[0] == "worker.b!1"

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_what_was_halted_begins_no_write_until_the_layer_is_heard_again() -> None:
    layer = CountingLayer()

    async def test(uplink: Uplink) -> None:
        await become(lambda: uplink._wake is not None)
        uplink.halt()
        entry = uplink.put(layer.prepare("a", {}), patient=True)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not uplink.is_writing
        assert layer.batches == []
        uplink.confirm(asyncio.get_running_loop().time())
        await idle(uplink)
        assert entry is not None
        assert entry.stored_at

    with_uplink(layer, test)


def test_what_a_sender_has_queued_and_nobody_has_written_is_taken_back_in_order() -> None:
    layer = MemoryChannelLayer(capacity=1)

    async def test(uplink: Uplink) -> None:
        ear, other = Ear(), Ear()
        layer.send("full", {})
        first = uplink.put(layer.prepare("full", {"n": 1}), ear, patient=True)
        await become(lambda: first is not None and first.full_since)
        uplink.halt()
        second = uplink.put(layer.prepare("full", {"n": 2}), ear, patient=True)
        uplink.put(layer.prepare("free", {}), other, patient=True)
        assert uplink.take_back(lambda sender: sender is ear) == {ear: [first, second]}
        assert uplink.take_back(lambda sender: sender is ear) == {}
        uplink.confirm(asyncio.get_running_loop().time())
        layer.receive_batch(["full"])
        await idle(uplink)
        assert layer.receive_batch(["full"]) == []
        assert len(layer.receive_batch(["free"])) == 1

    with_uplink(layer, test)
