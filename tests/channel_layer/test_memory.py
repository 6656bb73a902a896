"""What the memory layer does beyond the conformance suite."""

from __future__ import annotations

import asyncio

import pytest

from channel_layer.codec import DIRECT, GROUP, frame, pack_body
from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer

from .interleaving import Intruder


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_says_that_it_reaches_no_further_than_its_process() -> None:
    assert MemoryChannelLayer.local_only
    assert MemoryChannelLayer().describe() == "MemoryChannelLayer"


def test_what_expired_is_counted(clock: Clock) -> None:
    layer = MemoryChannelLayer(clock=clock, expiry=10)
    layer.send("room", {"n": 1})
    clock.now += 11
    assert layer.receive(["room"]) == (None, None)
    assert layer.counters.expired == 1


def test_what_expired_behind_a_fresh_message_makes_room(clock: Clock) -> None:
    layer = MemoryChannelLayer(clock=clock, expiry=10, capacity=2)
    layer.send("room", {"n": 3})
    clock.now += 9
    layer.put_back("room", [Delivery("room", {"n": 1})])
    clock.now += 2
    layer.send("room", {"n": 4})
    assert [layer.receive(["room"])[1] for _ in range(2)] == [{"n": 1}, {"n": 4}]


def test_a_membership_that_is_renewed_for_a_shorter_time_keeps_the_longer(clock: Clock) -> None:
    layer = MemoryChannelLayer(clock=clock, group_expiry=100)
    layer.group_add("group", "process!a")
    layer.group_expiry = 10
    for channel in ("process!a", "process!b"):
        layer.group_add("group", channel)
    clock.now += 11
    assert layer.group_channels("group") == ["process!a"]


def test_memberships_take_no_capacity_and_show_in_no_statistics() -> None:
    layer = MemoryChannelLayer(capacity=1)
    for n in range(10):
        layer.group_add("group", f"process!{n}")
    assert layer.channel_statistics("process!1")["messages_pending"] == 0
    layer.send_group("group", {"n": 1})
    assert layer.counters.group_full == 0
    assert len(layer.receive_batch(["process!"])[0].members or ()) == 10


def test_a_member_that_was_forgotten_before_its_process_heard_of_it_stays_forgotten() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("group", "process!gone")
    layer.group_add("group", "process!kept")
    asyncio.run(layer.aforget(["process!gone"]))
    layer.send_group("group", {"n": 1})
    [delivery] = layer.receive_batch(["process!"])
    assert delivery.members == ("kept",)


def test_two_senders_never_share_the_last_place(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = MemoryChannelLayer(capacity=1)
    refused: list[int] = []

    def send() -> None:
        refused.append(len(layer.send_batch([layer.prepare("room", {"n": 1})])))

    intruder = Intruder(send)
    looked: list[str] = []

    def capacity_of(reader: str) -> int:
        looked.append(reader)
        if len(looked) == 2:  # the number of messages is known, and about to be compared
            intruder()
        return 1

    monkeypatch.setattr(layer.capacity, "of_reader", capacity_of)
    send()
    intruder.finish()
    assert sorted(refused) == [0, 1]
    assert len(layer.receive_batch(["room"], limit=9)) == 1


def test_single_reader_channels_leave_nothing_behind() -> None:
    layer = MemoryChannelLayer()
    for _ in range(100):
        channel = layer.new_channel("http.request.body?")
        layer.send(channel, {"n": 1})
        layer.receive([channel])
    assert layer.channel_statistics("http.request.body?x")["messages_count"] == 100
    assert not layer._queues
    assert len(layer._sent) == 2


def test_bytes_that_are_no_frame_are_dropped_and_counted() -> None:
    layer = MemoryChannelLayer()
    with layer._lock:
        for data in (b"\xc1", frame(DIRECT, "local", pack_body({})), frame(GROUP, "group", pack_body({}))):
            layer._put("room", data)
        layer._put("process!", frame(DIRECT, "", pack_body({})))
    layer.send("room", {"n": 1})
    assert layer.receive(["room"]) == ("room", {"n": 1})
    assert layer.receive(["process!"]) == (None, None)
    assert layer.counters.bad_frames == 4


def test_a_limit_below_one_takes_one() -> None:
    layer = MemoryChannelLayer()
    layer.send("room", {"n": 1})
    assert len(layer.receive_batch(["room"], limit=0)) == 1
