"""Groups of many sockets: what a send costs Redis, and how fast sockets join."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from channel_layer.redis.scripts import GROUP_SEND

from ..clients import Client, once
from ..crowd.loads import BURST, PAUSE
from ..figures import HEADS, microseconds, middle, per_second, rate_text, row, share
from ..peers import ours
from ..report import Section, Setting
from ..stack import RoundError, Stack

MEMBERS = [10, 1_000, 10_000]
JOINING = 10_000
LEAST_JOINS = 5_000
LARGEST_DIFFERENCE = 0.2

TEXT = f"""\
**Sends**: real sockets, all in one interface process, are members of one group. A frame of one of them has a
consumer send {BURST} messages of 100 bytes to all, and the next frame follows {PAUSE} s after every member has
every byte of them. Redis logs how long each command takes it (`SLOWLOG`, from 0 µs on); given is the mean of
the middle half of all runs of the script that sends to a group. It must not depend on the number of members:
the largest may be {LARGEST_DIFFERENCE:.0%} above the least. The slow quarter is left out because Redis, left
alone for the long time in which thousands of sockets are written to, takes several times as long for whatever
comes first. Commands are all that were logged, those inside scripts and those for the frame and its turn
included, for each send.

**Joins**: {JOINING:,} sockets are open; 500 at a time each send a frame whose consumer adds them to the group
and answers. The time runs from the first frame to the last answer. Then one message to the group must reach
every one of them."""

MOST_ENTRIES = 500_000
"""Of the log: more than a round of a minute has."""

Round = dict[str, Any]
Entry = dict[str, Any]
"""Of the log, as redis-py gives it."""


def study(setting: Setting) -> Section:
    """Measure both; see `TEXT`."""
    joins: list[Round] = []
    with Stack(ours(connections=MEMBERS[-1])) as stack:
        sends = {str(members): _sends(setting, stack, members) for members in MEMBERS}
        for _ in range(setting.rounds):
            stack.settle()
            joins.append(once(stack, "join", path="/join/", sockets=JOINING))
            setting.tell(f"groups, {JOINING} sockets: {rate_text(per_second(joins[-1]))} joins")
    return Section("Groups", TEXT, table(sends, joins), {"sends": sends, "joins": joins})


def table(sends: Mapping[str, Sequence[Round]], joins: Sequence[Round]) -> list[list[str]]:
    """The figures: of sends by number of members, and of joins."""
    rows = [HEADS]
    costs = []
    for members, rounds in sends.items():
        costs.append(middle(each["in redis"] for each in rounds))
        commands = middle(each["commands"] for each in rounds)
        rows.append(row(f"a send to {int(members):,} members, in Redis", costs[-1], microseconds))
        rows.append(row("the same, commands of Redis", commands, "{:,.1f}".format))
        rows.append(row("the same, deliveries", int(members) * middle(map(per_second, rounds)), rate_text))
    rows.append(row("in Redis, largest above least", above_least(costs), share, most=LARGEST_DIFFERENCE))
    rows.append(row(f"{JOINING:,} sockets join", middle(map(per_second, joins)), rate_text, least=LEAST_JOINS))
    return rows


def above_least(costs: Sequence[float]) -> float:
    """By which share the largest is above the least."""
    return max(costs) / min(costs) - 1


def _sends(setting: Setting, stack: Stack, members: int) -> list[Round]:
    rounds = []
    with Client(stack, "bursts", path="/join/", sockets=members, seconds=setting.seconds) as client:
        client.run()
        stack.settle(3.0)
        for _ in range(setting.rounds):
            with logged(stack) as entries:
                said = client.run()
            rounds.append({**said, **cost(entries, said["count"])})
            setting.tell(f"groups, {members} members: {microseconds(rounds[-1]['in redis'])} in Redis for a send")
    return rounds


@contextmanager
def logged(stack: Stack) -> Iterator[list[Entry]]:
    """Have the stack's Redis log every command during the block; afterwards the entries are there."""
    entries: list[Entry] = []
    with redis.Redis(port=stack.redis_port) as client:
        client.config_set("slowlog-max-len", MOST_ENTRIES)
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        yield entries
        client.config_set("slowlog-log-slower-than", -1)
        entries += client.slowlog_get(MOST_ENTRIES)


def cost(entries: Sequence[Entry], sends: int) -> Round:
    """Cost of a send, from the log: seconds of the script, of each run and in the middle, and commands in all.

    Raises:
        RoundError: the log does not have every send.
    """
    runs = [entry["duration"] / 1e6 for entry in entries if GROUP_SEND.digest.encode() in entry["command"][:80]]
    if len(runs) < sends:
        raise RoundError(f"Redis has logged {len(runs)} of {sends} sends; make the rounds shorter")
    return {"in redis": middle_half(runs), "each": runs, "commands": len(entries) / sends}


def middle_half(values: Sequence[float]) -> float:
    """The mean of the values without the least and the largest quarter."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return statistics.fmean(ordered[quarter : len(ordered) - quarter])
