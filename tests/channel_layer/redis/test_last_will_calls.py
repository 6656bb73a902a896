"""The calls that leave, withdraw and carry out last wills."""

from __future__ import annotations

from channel_layer.capacity import CapacityRules
from channel_layer.delivery import LastWill, Outgoing
from channel_layer.redis import scripts
from channel_layer.redis.last_will_calls import CHUNK, LastWillCalls
from channel_layer.redis.storage import Storage

from .test_plan import item


def calls(hosts: int = 1) -> LastWillCalls:
    identities = [f"redis://{n}" for n in range(hosts)]
    return LastWillCalls(Storage(identities, "p:", 60, 86_400, CapacityRules(7), presence=30))


def leaving(target: str, gone: str) -> Outgoing:
    made = item(target)
    made.last_will = LastWill("process!a", item(gone))
    return made


def test_each_message_is_followed_by_what_it_does_to_a_last_will() -> None:
    withdrawing, claiming = item("gone"), item("gone")
    withdrawing.last_will = LastWill("process!b", None)
    claiming.last_will = LastWill("process!c", None, claims=True)
    pairs = [("", leaving("gone", "gone")), ("", withdrawing), ("", claiming), ("", item("gone"))]
    call = calls().push("gone", pairs)
    assert call.script is scripts.PUSH_WITH_LAST_WILLS
    assert call.keys == ["p:s:", "p:c:gone", "p:s:gone", "p:w:", "p:w:process!", "p:x:process!"]
    assert call.args[:7] == [60_000, 86_400_000, 7, "p:w:", "p:x:", 30_000, 86_400_000]
    settled = [call.args[at + 1 : at + 4] for at in range(7, len(call.args), 4)]
    assert settled[0][:2] == ["process!", "a"]
    assert settled[0][2].startswith(b"7:gone:")
    assert settled[1:] == [["process!", "b", b""], ["process!", "c", b"?"], ["", "", ""]]


def test_a_last_will_for_another_server_is_an_item_of_its_own() -> None:
    several = calls(2)
    homes = {several.home(item(f"gone.{n}")): f"gone.{n}" for n in range(50)}
    here, there = leaving(homes[0], homes[0]), leaving(homes[0], homes[1])
    assert several.elsewhere(here) is None
    alone = several.elsewhere(there)
    assert alone is not None
    assert (alone.target, alone.body, alone.last_will) == (homes[1], b"", there.last_will)
    assert several.homes([here, there, item("x")]) == {("process!", 0), ("process!", 1)}
    assert several.push(homes[0], [("", there)]).args[8:] == ["", "", ""]


def test_some_are_carried_out_at_a_time() -> None:
    call = calls().carry_out(0)
    assert call.script is scripts.CARRY_OUT_LAST_WILLS
    assert call.keys == ["p:w:", "p:s:"]
    assert call.args[2:6] == ["p:p:", "p:w:", "p:x:", "p:q:"]
    assert call.args[8:] == [10_000, 86_400_000, CHUNK]
    assert calls().carried_out(0, "process!").args == ("SMEMBERS", "p:x:process!")
