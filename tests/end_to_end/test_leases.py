"""Leases of hosted applications under all that may happen to them, in any order; see `lease_simulator`."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

import pytest

from interface_server.websocket.connection import Phase, WebSocketConnection
from tests.end_to_end.lease_simulator import World, end, settle

SEEDS = int(os.environ.get("LEASE_SEEDS", "8"))
STEPS = 300


async def play(world: World, kills: bool) -> None:
    """Have things happen at random, then all sockets close, and everything come to its end."""
    random = world.random
    for _ in range(2):
        world.add_worker()
    for number in range(3):
        world.connect(stays=number == 2)
    for step in range(STEPS):
        await settle()
        up = [worker for worker in world.workers if worker.is_up]
        action = random.choice(ACTIONS)
        if action == "store" and world.line.waiting:
            world.store()
        elif action == "hear" and world.to_server:
            for _ in range(random.randint(1, len(world.to_server))):
                world.hear()
        elif action == "take" and world.jobs and (ready := [worker for worker in up if not worker.leaves]):
            random.choice(ready).take(world.jobs.popleft())
        elif action == "begin" and up:
            random.choice(up).begin()
        elif action == "read" and up:
            random.choice(up).read(random.randint(1, 5))
        elif action == "finish" and (apps := world.running()):
            random.choice(apps).go_on()
        elif action == "group":
            world.send_to_group(f"group{step}")
        elif action == "frame":
            connection = random.choice(world.connections)
            if connection.phase is Phase.OPEN and connection._lease is not None:
                connection.received(f"frame{step}")
                world.sent[connection.channel].append(f"frame{step}")
        elif action == "second":
            for _ in range(random.choice([1, 1, 3, 12])):
                await world.second()
        elif action == "leave" and up:
            worker = random.choice(up)
            worker.leaves = True
            worker.instances.let_go()
        elif action == "idle" and up:
            random.choice(up).instances.let_go_of_quiet(0)
        elif action == "move" and up:
            random.choice(up).instances.move_some(random.randint(1, 3))
        elif action == "give up" and (leaving := [worker for worker in up if worker.leaves]):
            random.choice(leaving).instances._give_up()
        elif action == "start" and len(world.workers) < 8:
            world.add_worker()
        elif action == "kill" and kills and up and random.random() < 0.5:
            random.choice(up).is_dead = True
        elif action == "hold up" and kills and up:
            random.choice(up).is_held_up = True
        elif action == "go on":
            for worker in world.workers:
                worker.go_on()
        elif action == "disconnect" and random.random() < 0.2:
            random.choice(world.connections).lost(1001)
    for worker in world.workers:
        if kills and random.random() < 0.2:
            worker.is_dead = True
    await world.quiet_down()
    for connection in world.connections:
        connection.lost(1001)
    await world.quiet_down()


ACTIONS = (
    ["store"] * 14 + ["hear"] * 10 + ["take"] * 8 + ["begin"] * 8 + ["read"] * 10 + ["finish"] * 14 + ["frame"] * 8
    + ["group"] * 4 + ["second"] * 3
    + ["leave", "idle", "move", "give up", "start", "kill", "hold up", "go on", "disconnect"]
)  # fmt: skip


def check(world: World, connection: WebSocketConnection, kills: bool, losses: float) -> None:
    told, dropped = world.told[connection.channel], world.dropped[connection.channel]
    names = [name for _, name in told]
    events = [name for name in names if name not in ("connect", "disconnect")]
    sent = world.sent[connection.channel]
    assert len(set(events)) == len(events), f"begun twice: {told}"
    assert [epoch for epoch, _ in told] == sorted(epoch for epoch, _ in told), f"two instances at once: {told}"
    assert events == [name for name in sent if name in events], f"out of order: {told} of {sent}"
    assert not any(pair == ("connect", "connect") for pair in pairwise(names)) or kills, names
    closed = [call[1] for call in connection._socket.calls if call[0] == "close"]  # type: ignore[attr-defined]
    cannot_go_on = bool(dropped) and (world.stays(connection.channel) or "connect" in dropped)
    given_up = connection.channel in world.given_up or 1012 in closed
    if not given_up and not cannot_go_on:
        missing = [name for name in sent if name not in events and name not in dropped]
        assert missing == [], f"lost: {missing}; {told}; dropped {dropped}"
    if not kills and not losses:
        assert dropped == []
    assert names.count("disconnect") <= names.count("connect"), names
    if names and names[-1] != "disconnect":
        refused = ("reject", 503) in connection._socket.calls  # type: ignore[attr-defined]
        unknown = connection._lease is None  # the worker was killed before it said a word
        assert "disconnect" in dropped or given_up or cannot_go_on or refused or unknown, names
    assert connection._local not in world.context.connections
    assert world.context.read_ahead == 0


@pytest.mark.parametrize(("kills", "losses"), [(False, 0.0), (True, 0.0), (True, 0.1)], ids=str)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_event_is_begun_twice_or_out_of_order_or_lost(
    seed: int, kills: bool, losses: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        world = World(seed, monkeypatch, losses)
        await play(world, kills)
        await end()
        for connection in world.connections:
            check(world, connection, kills, losses)

    asyncio.run(run())
