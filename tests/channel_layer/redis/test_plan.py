from __future__ import annotations

import struct

import pytest
import redis

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.cipher import CLOCK_TOLERANCE, Sealer
from channel_layer.delivery import Outgoing
from channel_layer.redis import scripts
from channel_layer.redis.last_will_calls import LastWillCalls
from channel_layer.redis.plan import Planner
from channel_layer.redis.scripts import LargeWord
from channel_layer.redis.storage import Storage


def planner_of(storage: Storage) -> Planner:
    return Planner(storage, LastWillCalls(storage))


def planner(hosts: int = 1) -> Planner:
    identities = [f"redis://{n}" for n in range(hosts)]
    return planner_of(Storage(identities, "p:", 60, 86_400, CapacityRules(7, {"small": 2})))


def item(target: str, group: bool = False) -> Outgoing:
    return Outgoing(target, codec.pack_body({"to": target}), None, group)


def test_a_run_of_messages_is_one_script_call_with_the_frames_of_each_queue_together() -> None:
    items = [item("small"), item("d!1"), item("small"), item("d!2")]
    [call] = planner().send(items).calls[0]
    assert call.script is scripts.PUSH
    assert call.keys == ["p:s:", "p:c:small", "p:s:small", "p:c:d!", "p:s:d!"]
    assert call.args[:4] == [60_000, 86_400_000, 2, 2]
    assert [codec.unpack_frame(data, 1000)[1] for data in call.args[8:]] == ["1", "2"]


def test_a_message_to_a_group_keeps_its_place_between_the_others() -> None:
    calls = planner().send([item("d!1"), item("everyone", group=True), item("d!1")]).calls[0]
    assert [call.script for call in calls] == [scripts.PUSH, scripts.GROUP_SEND, scripts.PUSH]


def test_a_group_is_sent_to_on_one_server_and_groups_are_spread() -> None:
    plans = [planner(3).send([item(f"group-{number}", group=True)]).calls for number in range(30)]
    assert {len(calls) for calls in plans} == {1}
    assert {shard for calls in plans for shard in calls} == {0, 1, 2}


def test_what_remains_of_a_message_to_a_group_goes_to_the_servers_of_its_ordinary_channels() -> None:
    plan = planner(3)
    message = item("everyone", group=True)
    names = [f"room-{number}" for number in range(30)]
    calls = plan.pass_on(message, [(name, b"") for name in names]).calls
    assert sorted(calls) == [0, 1, 2]
    for shard, pushes in calls.items():
        for push in pushes:
            assert push.script is scripts.PUSH
            assert plan.storage.host_of(push.keys[1].removeprefix("p:c:")) == shard
            assert codec.unpack_frame(push.args[4], 1000)[1:3] == ["", {"to": "everyone"}]


def test_without_the_servers_time_it_is_estimated() -> None:
    plan = planner()
    plan.clocks[0].learn(1_000_000.0)
    stamp = struct.Struct(">d").pack
    reply = [b"p:c:x", [stamp(1_900_000.0) + b"live", stamp(999_999.0) + b"dead"]]
    assert plan.popped(0, reply, redis.ResponseError("no permission")) == ("x", [(b"live", 1_900_000.0)], 1)


def test_expired_elements_are_left_out_by_the_servers_clock() -> None:
    stamp = struct.Struct(">d").pack
    reply = [b"p:c:x", [stamp(1_000_500.0) + b"live", stamp(999_999.0) + b"dead", b"short"]]
    assert planner().popped(0, reply, [b"1000", b"200"]) == ("x", [(b"live", 1_000_500.0)], 2)
    assert planner().popped(0, None, [b"1000", b"200"]) == ("", [], 0)


@pytest.mark.parametrize("secret", ["", "secret"])
def test_a_large_message_is_put_together_when_it_is_written_and_taken_apart_where_it_lies(secret: str) -> None:
    sealer = Sealer([secret], "p:", 65_536) if secret else None
    plan = planner_of(Storage(["redis://x"], "p:", 60, 86_400, CapacityRules(7), sealer))
    large = Outgoing("d!1", codec.pack_body({"content": bytes(30_000)}), {"flow": "x"})
    _, push, *_ = plan.send([large]).calls[0]
    [pieces] = push.args[2:]
    assert isinstance(pieces, LargeWord)
    assert any(piece is large.body for piece in pieces) == (not secret)
    stored = b"".join(pieces)
    _, [(frame, _)], _ = plan.popped(0, [b"p:c:d!", [stored]], [b"1000", b"0"])
    assert isinstance(frame, memoryview)
    assert frame.obj is stored
    if sealer is not None:
        [(frame, _)], _ = sealer.open_all("d!", [(frame, 0)], None)
    assert codec.unpack_frame(frame, 40_000) == [codec.DIRECT, "1", {"content": bytes(30_000)}, {"flow": "x"}]


def test_the_age_of_the_oldest_element_is_counted_from_when_it_was_sent() -> None:
    expires = struct.Struct(">d").pack(1_060_000.0)
    assert planner().age(expires, [b"1005", b"0"]) == 5.0
    assert planner().age(None, [b"1005", b"0"]) == 0.0


def test_what_is_sealed_is_good_for_as_long_as_redis_keeps_it() -> None:
    def at(seconds: float) -> Sealer:
        return Sealer(["secret"], "p:", 1000, lambda: 1_800_000_000.0 + seconds)

    plan = planner_of(Storage(["redis://x"], "p:", 60, 86_400, CapacityRules(7), at(0)))
    [push, to_group] = plan.send([item("d!1"), item("everyone", group=True)]).calls[0]
    join, member = plan.join("everyone", "d!", "1"), plan.join("everyone", "room", "")
    again = plan.join("everyone", "d!", "1", seconds=500)
    back = plan.put_front(0, "d!", [("1", item("d!1"), None)])
    for reader, sealed, lifetime in (
        ("d!", push.args[4], 60),
        ("d!", to_group.args[4], 60),
        ("room", to_group.args[5] + member.args[7], 60),
        ("d!", back.args[2], 60),
        ("d!", join.args[6], 86_400),
        ("d!", again.args[6], 500),
        ("d!", plan.leave("everyone", "d!", "1").args[3], 60),
    ):
        codec.unpack_frame(at(lifetime + CLOCK_TOLERANCE).open(reader, sealed), 1000)
        with pytest.raises(codec.InvalidFrame):
            at(lifetime + CLOCK_TOLERANCE + 1).open(reader, sealed)


def test_without_encryption_there_are_no_tickets() -> None:
    assert len(planner().join("everyone", "room", "").keys) == 4
    assert len(planner().leave("everyone", "room", "").keys) == 3
    [call] = planner().send([item("everyone", group=True)]).calls[0]
    assert call.args[6] == ""


def test_tickets_are_of_ordinary_channels_alone() -> None:
    sealer = Sealer(["secret"], "p:", 65_536)
    plan = planner_of(Storage(["redis://x"], "p:", 60, 86_400, CapacityRules(7), sealer))
    ticket = plan.storage.keys[0].ticket("everyone", "room")
    assert plan.join("everyone", "room", "").keys[4:] == plan.leave("everyone", "room", "").keys[3:] == [ticket]
    assert plan.join("everyone", "d!", "1").keys[4:] == plan.leave("everyone", "d!", "1").keys[3:] == []
