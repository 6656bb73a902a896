"""Costs of frames and group messages in each process and the broker; `benchmarks.scaling` calculates with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from channel_layer.redis import RedisChannelLayer

from ..clients import Client
from ..figures import HEADS, microseconds, middle, row
from ..machine import running_seconds
from ..peers import ours
from ..report import Section, Setting
from ..stack import Stack

SOCKETS = [1, 200]
PROCESSES = [1, 10, 100]
ROLES = ("server", "worker", "redis")
SENDS = 2_000
BURST = 10

TEXT = f"""\
**Echoes** of 100 bytes with the sockets of the first column: CPU time of each process (`schedstat`), and by Redis' own
account what came in, what went out, and how many round trips it took, for one frame and its answer together.
With many sockets messages travel together.

**Groups across interface processes**: {SENDS:,} messages of 100 bytes to a group with one member in each of so
many processes, {BURST} at a time, then every process fetches. Redis' CPU time for one message, sending and fetching."""

Round = dict[str, float]


def study(setting: Setting) -> Section:
    """Measure both; see `TEXT`."""
    with Stack(ours()) as stack:
        echoes = {str(sockets): _echoes(setting, stack, sockets) for sockets in SOCKETS}
        stack.settle()
        groups = {str(processes): _group(setting, stack, processes) for processes in PROCESSES}
    return Section("Traffic", TEXT, table(echoes, groups), {"echoes": echoes, "groups": groups})


def table(echoes: Mapping[str, Sequence[Round]], groups: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """The figures, medians of the rounds."""
    rows = [HEADS]
    for sockets, rounds in echoes.items():
        spent = {what: middle(each[what] for each in rounds) for what in rounds[0]}
        rows += [row(f"{sockets} sockets, an echo, {role}", spent[role], microseconds) for role in ROLES]
        rows += [row(f"the same, {what}", spent[what], "{:,.0f}".format) for what in ("bytes in", "bytes out")]
        rows.append(row("the same, round trips", spent["round trips"], "{:.2f}".format))
    for processes, costs in groups.items():
        rows.append(row(f"a message to {processes} processes, Redis", middle(costs), microseconds))
    return rows


def _echoes(setting: Setting, stack: Stack, sockets: int) -> list[Round]:
    rounds = []
    with Client(stack, "echo", path="/echo/", sockets=sockets, seconds=setting.seconds) as client:
        for _ in range(setting.rounds):
            before = _account(stack)
            count = client.run()["count"]
            rounds.append({name: (now - before[name]) / count for name, now in _account(stack).items()})
            setting.tell(f"traffic, {sockets} sockets: {rounds[-1]['bytes in']:,.0f} bytes to Redis for an echo")
    return rounds


def _account(stack: Stack) -> Round:
    """CPU seconds of each process so far, and what its Redis has counted."""
    with redis.Redis(port=stack.redis_port) as client:
        statistics: dict[str, Any] = client.info("stats")
        commands: dict[str, Any] = client.info("commandstats")
    return {
        **{role: running_seconds(process.pid) for role, process in stack.processes.items()},
        "bytes in": float(statistics["total_net_input_bytes"]),
        "bytes out": float(statistics["total_net_output_bytes"]),
        "round trips": float(round_trips(commands)),
    }


def round_trips(commands: Mapping[str, Mapping[str, float]]) -> float:
    """Count round trips to Redis, from ``INFO commandstats``: each pop brings a ``TIME`` of its own in its pipeline."""
    return sum(commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "blmpop", "lmpop"))


def _group(setting: Setting, stack: Stack, processes: int) -> list[float]:
    """Redis' CPU seconds for one message to a group in so many processes, a figure a round."""
    layer = RedisChannelLayer(hosts=[f"redis://127.0.0.1:{stack.redis_port}/0"], prefix=f"group-of-{processes}:")
    readers = [f"process{number}!" for number in range(processes)]
    for reader in readers:
        layer.group_add("all", f"{reader}member")
        layer.receive_batch([reader])
    costs = []
    pid = stack.processes["redis"].pid
    for _ in range(setting.rounds):
        before = running_seconds(pid)
        for _ in range(SENDS // BURST):
            layer.send_batch([layer.prepare("all", {"text": "." * 100}, group=True) for _ in range(BURST)])
            for reader in readers:
                arrived = layer.receive_batch([reader], limit=BURST, timeout=10)
                assert len(arrived) == BURST, f"{len(arrived)} of {BURST} messages for {reader}"
        costs.append((running_seconds(pid) - before) / SENDS)
        setting.tell(f"traffic, a group in {processes} processes: {microseconds(costs[-1])} of Redis for a message")
    layer.flush()
    layer.close()
    return costs
