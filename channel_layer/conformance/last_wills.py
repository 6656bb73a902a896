"""Last wills: what a process leaves to be sent in case it disappears. For layers with the extension ``last_wills``."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Any

import pytest

from ..delivery import Delivery, LastWill, Outgoing
from ..layer import ChannelLayer
from .tools import PATIENCE, MakeLayer, Tools, numbers

SOON = 0.3
"""``presence`` of processes that are to be found missing. Who must not be missed has more, or nobody looks yet."""


def leaving(layer: ChannelLayer, n: int, target: str = "connect") -> Outgoing:
    """A message that leaves the last will number ``n`` of ``process!``."""
    item = layer.prepare(target, {"n": n})
    item.last_will = LastWill(f"process!{n}", layer.prepare("gone", {"n": n}, {"turn": n}))
    return item


def withdrawing(layer: ChannelLayer, n: int) -> Outgoing:
    """A message that withdraws it."""
    item = layer.prepare("gone", {"n": n, "real": True})
    item.last_will = LastWill(f"process!{n}", None)
    return item


class LastWillRules(Tools):
    """A last will is carried out once its process has disappeared, once, and not if it was withdrawn."""

    @staticmethod
    def processes(make_layer: MakeLayer, count: int, **options: Any) -> list[ChannelLayer]:
        """Layers that stand for so many processes; a layer without the extension skips the test."""
        made = [make_layer(**options) for _ in range(count)]
        if "last_wills" not in made[0].extensions:
            pytest.skip("this layer keeps no last wills")
        return made

    def carried_out(self, survivors: Collection[ChannelLayer], count: int) -> list[Delivery]:
        """Receive on ``gone`` by the survivors until ``count`` messages have come."""
        found: list[Delivery] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < deadline, f"{count} last wills were to be carried out, these were: {found}"
            for survivor in survivors:
                found += survivor.receive_batch(["gone"], limit=100, timeout=0.02)
        return found

    def nothing_more(self, survivor: ChannelLayer, seconds: float = 3 * SOON) -> bool:
        """Make sure that nothing comes on ``gone`` in the time in which last wills would be carried out."""
        self.let_run(0 if survivor.local_only else seconds)
        assert survivor.receive_batch(["gone"], limit=100, timeout=0) == []
        return self.nothing(survivor, "gone")

    def test_the_last_wills_of_a_process_that_disappeared_are_carried_out_once(self, make_layer: MakeLayer) -> None:
        process, one, another = self.processes(make_layer, 3, presence=SOON)
        process.receive_batch(["process!"])
        assert process.send_batch([leaving(process, n) for n in range(450)]) == []
        assert numbers(self.take_many(one, "connect", count=450, limit=450)) == list(range(450))
        if process.local_only:  # nobody is left
            assert self.nothing_more(one)
            return
        found = self.carried_out([one, another], 450)
        assert sorted(numbers(found)) == list(range(450))
        assert all(delivery.headers == {"turn": delivery.message["n"]} for delivery in found)
        assert self.nothing_more(another)

    def test_a_last_will_that_was_withdrawn_is_not_carried_out(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=SOON)
        process.receive_batch(["process!"])
        process.send_batch([leaving(process, 1), leaving(process, 2)])
        process.send_batch([withdrawing(process, 1), withdrawing(process, 2)])
        assert [item.message for item in self.take_many(survivor, "gone", count=2)] == [
            {"n": 1, "real": True},
            {"n": 2, "real": True},
        ]
        assert self.nothing_more(survivor)

    def test_a_refused_message_leaves_and_withdraws_nothing(self, make_layer: MakeLayer) -> None:
        full = {"connect": 1, "gone": 1}
        process, survivor = self.processes(make_layer, 2, presence=SOON, channel_capacity=full)
        process.receive_batch(["process!"])
        first, second = leaving(process, 1), leaving(process, 2)
        assert process.send_batch([first, second]) == [second]
        process.send("gone", {"n": 0})
        last = withdrawing(process, 1)
        assert process.send_batch([last]) == [last]
        assert numbers(self.take_many(survivor, "gone")) == [0]
        if not process.local_only:
            assert [item.message for item in self.carried_out([survivor], 1)] == [{"n": 1}]
        assert self.nothing_more(survivor)

    def test_a_process_that_waits_for_messages_lives(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=1.5)
        process.send_batch([leaving(process, 1)])
        is_withdrawn = threading.Event()

        def read() -> None:
            while not is_withdrawn.is_set():
                process.receive_batch(["process!"], timeout=1)

        reading = threading.Thread(target=read)
        reading.start()
        try:
            self.let_run(2.5)
            assert self.nothing(survivor, "gone")
            process.send_batch([withdrawing(process, 1)])
        finally:
            is_withdrawn.set()
            reading.join(PATIENCE)
        assert [item.message for item in self.take_many(survivor, "gone")] == [{"n": 1, "real": True}]

    def test_a_message_that_claims_a_last_will_comes_once_however_often_it_is_sent(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=SOON)
        process.receive_batch(["process!"])
        process.send_batch([leaving(process, 1)])
        for _ in range(2):
            item = withdrawing(process, 1)
            item.last_will = LastWill("process!1", None, claims=True)
            assert process.send_batch([item, item]) == []
        assert [item.message for item in self.take_many(survivor, "gone")] == [{"n": 1, "real": True}]
        assert self.nothing_more(survivor)

    def test_last_wills_that_find_no_room_are_carried_out_later(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=SOON, channel_capacity={"gone": 2})
        process.receive_batch(["process!"])
        process.send_batch([leaving(process, n) for n in range(5)])
        if not process.local_only:
            assert sorted(numbers(self.carried_out([survivor], 5))) == list(range(5))
        assert self.nothing_more(survivor)

    def test_a_last_will_expires_no_earlier_than_a_message_sent_when_it_is_carried_out(
        self, make_layer: MakeLayer
    ) -> None:
        process, survivor = self.processes(make_layer, 2, presence=1.5, expiry=1)
        process.receive_batch(["process!"])
        process.send_batch([leaving(process, 1)])
        if not process.local_only:
            assert numbers(self.carried_out([survivor], 1)) == [1]

    def test_a_last_will_can_be_left_without_a_message(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=SOON)
        process.receive_batch(["process!"])
        alone = Outgoing("gone", b"")
        alone.last_will = leaving(process, 1).last_will
        assert process.send_batch([alone, alone]) == []
        assert self.nothing(survivor, "gone")
        if not process.local_only:
            assert numbers(self.carried_out([survivor], 1)) == [1]
        assert self.nothing_more(survivor)

    def test_who_comes_back_is_told_and_cannot_send_it_again(self, make_layer: MakeLayer) -> None:
        process, survivor = self.processes(make_layer, 2, presence=SOON)
        if process.local_only:
            return
        told: list[Collection[str]] = []
        process.watch_last_wills("process!", told.append)
        process.receive_batch(["process!"])
        process.send_batch([leaving(process, 1)])
        assert numbers(self.carried_out([survivor], 1)) == [1]
        assert process.send_batch([withdrawing(process, 1)]) == []
        deadline = time.monotonic() + PATIENCE
        while {"1"} not in [set(names) for names in told]:
            assert time.monotonic() < deadline, f"the process was to be told of its last will: {told}"
            process.receive_batch(["process!"], timeout=0.02)
        assert self.nothing_more(survivor, 0)
        process.send_batch([leaving(process, 2), withdrawing(process, 2)])
        assert [item.message for item in self.take_many(survivor, "gone")] == [{"n": 2, "real": True}]
