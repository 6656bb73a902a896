"""Groups of many sockets: what a send costs Redis, and how fast sockets join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from ..crowd.members import BURST, PAUSE
from ..section import Section, Setting
from ..stack import Stack
from .rows import HEADS, at_least, at_most, known, microseconds, middle, number, rate, share
from .running import Client, once, ours, started

MEMBERS = [10, 1_000, 10_000]
JOINING = 10_000
LEAST_JOINS = 5_000
LARGEST_DIFFERENCE = 0.2

TEXT = f"""\
**Sends**: real sockets, all in one interface process, are members of one group. A frame of one of them has a
consumer send {BURST} messages of 100 bytes to all, and the next frame follows {PAUSE} s after every member has
every byte of them. What Redis does for one send is its own account (`INFO commandstats`) of the scripts and
pops: the frame and the end of its turn, each a {BURST}th, the sends, and what worker and interface server
fetch. It must not depend on the number of members: the largest may be {LARGEST_DIFFERENCE:.0%} above the least.
Several at once and with a pause for any number, because what Redis does first after a while without work takes
it several times as long, and with 10,000 members it waits for long. The number of commands, those inside
scripts included, does not depend on what else the machine does.

**Joins**: {JOINING:,} sockets are open; 500 at a time each send a frame whose consumer adds them to the group
and answers. The time runs from the first frame to the last answer. Then one message to the group must reach
every one of them."""

CARRYING = ("eval", "evalsha", "blmpop", "lmpop")
"""The commands that bring messages to Redis and fetch them."""

Round = dict[str, Any]
Figures = Mapping[str, float]
"""Of one command in ``INFO commandstats``: ``calls``, ``usec`` and others."""


def study(setting: Setting) -> Section:
    """Measure both; see `TEXT`."""
    joins: list[Round] = []
    with started(ours(connections=MEMBERS[-1])) as stack:
        sends = {str(members): _sends(setting, stack, members) for members in MEMBERS}
        for _ in range(setting.rounds):
            stack.settle()
            joins.append(once(stack, "join", path="/join/", sockets=JOINING))
            setting.tell(f"groups, {JOINING} sockets: {rate(_rate(joins[-1]))} joins")
    return Section("Groups", TEXT, table(sends, joins), {"sends": sends, "joins": joins})


def table(sends: Mapping[str, Sequence[Round]], joins: Sequence[Round]) -> list[list[str]]:
    """The figures: of sends by number of members, and of joins."""
    rows = [HEADS]
    costs = []
    for members, rounds in sends.items():
        costs.append(middle(each["in redis"] for each in rounds))
        rows.append(known(f"a send to {int(members):,} members, in Redis", costs[-1], microseconds))
        rows.append(known("the same, commands of Redis", middle(each["commands"] for each in rounds), number))
        rows.append(known("the same, deliveries", int(members) * middle(map(_rate, rounds)), rate))
    rows.append(at_most("in Redis, largest above least", above_least(costs), LARGEST_DIFFERENCE, share))
    rows.append(at_least(f"{JOINING:,} sockets join", middle(map(_rate, joins)), LEAST_JOINS, rate))
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
            before = account(stack)
            said = client.run()
            rounds.append({**said, **spent(before, account(stack), said["count"])})
            setting.tell(f"groups, {members} members: {microseconds(rounds[-1]['in redis'])} in Redis for a send")
    return rounds


def account(stack: Stack) -> dict[str, Figures]:
    """What the stack's Redis has done since it started, by command."""
    with redis.Redis(port=stack.redis_port) as client:
        return {name.removeprefix("cmdstat_"): figures for name, figures in client.info("commandstats").items()}


def spent(before: Mapping[str, Figures], after: Mapping[str, Figures], sends: int) -> Round:
    """What one send took between two accounts: seconds in Redis by command, their sum, and commands.

    The seconds are those of the commands that carry messages. What scripts call is part of them, and counted on its
    own besides; of the commands all are counted.
    """
    none: Figures = {"usec": 0, "calls": 0}
    seconds = {
        name: (after[name]["usec"] - before.get(name, none)["usec"]) / 1e6 / sends for name in CARRYING if name in after
    }
    calls = sum(figures["calls"] - before.get(name, none)["calls"] for name, figures in after.items() if name != "info")
    return {"in redis": sum(seconds.values()), "by command": seconds, "commands": calls / sends}


def _rate(measured: Round) -> float:
    return float(measured["count"] / measured["seconds"])
