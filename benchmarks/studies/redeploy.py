"""A deploy of the workers, and the death of one, under many sockets of a hosted application."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..clients import Client, once
from ..figures import HEADS, kibibytes, row, time_text
from ..machine import memory_bytes
from ..peers import HOSTED, PEERS, SPARE_CONNECTIONS, Peer
from ..report import Section, Setting
from ..stack import Stack

WARM_UP = 200
QUIET = 4_500
ACTIVE = 500

BEFORE = 2.0
"""Seconds of the load before anything happens to a worker."""

DEPLOY_SECONDS, DEATH_SECONDS = 10.0, 14.0
"""Length of the load around each."""

LONGEST_PAUSE = 2.0
LONGEST_RECOVERY = 10.0
MOST_IN_WORKER, MOST_IN_SERVER = 8 * 1_024, 4 * 1_024

TEXT = f"""\
One interface server and two workers host an asynchronous echo for Channels 4 over {QUIET + ACTIVE:,} sockets.
{ACTIVE} of them are active: each sends a numbered frame of 100 bytes every half second, whether or not the last one
was answered. One worker gets SIGTERM and another is started, as in a deploy; then, during a second load, the older
one of those two is killed. A *pause* is the longest time that an active socket waited for one of its answers, so
these figures are over sockets. Behind each, every quiet socket sends a frame within half a second, for which
instances are made again. Every answer is compared: one that comes twice or in another order fails the study.
A frame that a killed worker had in hand is lost, by the guarantees. Memory is what the processes grew by (RSS)
while the quiet sockets were opened, divided by these; their handshakes have the twelve headers of a browser."""


def study(setting: Setting) -> Section:
    """Deploy, then kill; see `TEXT`."""
    with Stack(hosted(QUIET + ACTIVE)) as stack:
        once(stack, "echo", path="/echo/", sockets=WARM_UP, seconds=1.0)
        stack.start("worker", 2)
        stack.settle()
        once(stack, "echo", path="/echo/", sockets=WARM_UP, seconds=1.0)
        stack.settle()
        before = _memory(stack)
        with Client(stack, "steady", path="/echo/", sockets=QUIET, seconds=0.5, browser=True) as quiet:
            stack.settle()
            memory = {role: (size - before[role]) / QUIET for role, size in _memory(stack).items()}
            deploy = _while_active(stack, DEPLOY_SECONDS, lambda: stack.replace("worker", 3))
            setting.tell(f"redeploy: {deploy['closed']} closed, pauses up to {time_text(deploy['longest'])}")
            deploy["quiet"] = quiet.run()
            death = _while_active(stack, DEATH_SECONDS, lambda: stack.end("worker 2", signal.SIGKILL))
            setting.tell(f"redeploy, killed: {death['closed']} closed, pauses up to {time_text(death['longest'])}")
            death["quiet"] = quiet.run()
    table = [
        HEADS,
        row("memory of a quiet instance, workers", memory["worker"], kibibytes, most=MOST_IN_WORKER),
        row("the same, interface server", memory["server"], kibibytes, most=MOST_IN_SERVER),
        *_rows("a worker is replaced", deploy, most_lost=0, longest=LONGEST_PAUSE),
        *_rows("a worker is killed", death, most_lost=ACTIVE, longest=LONGEST_RECOVERY),
    ]
    return Section("Redeploy", TEXT, table, {"memory": memory, "deploy": deploy, "death": death})


def _memory(stack: Stack) -> dict[str, float]:
    """Bytes by kind of process."""
    found = {"worker": 0.0, "server": 0.0}
    for role, process in stack.processes.items():
        if role.split()[0] in found:
            found[role.split()[0]] += memory_bytes(process.pid)
    return found


def _while_active(stack: Stack, seconds: float, happen: Callable[[], None]) -> dict[str, Any]:
    """Figures of the active sockets, while something happens to the workers."""
    with Client(stack, "steady", path="/echo/", sockets=ACTIVE, seconds=seconds) as active:
        stack.settle()
        before = stack.cpu()
        active.go()
        time.sleep(BEFORE)
        happen()
        said = active.result()
    said["used"] = {role: used - before.get(role, 0.0) for role, used in stack.cpu().items()}
    return said


def _rows(what: str, said: dict[str, Any], most_lost: int, longest: float) -> list[list[str]]:
    closed, quiet = said["closed"] + said["quiet"]["closed"], said["quiet"]
    return [
        row(f"{what}: sockets closed", closed, _count, most=0),
        row("frames lost", said["lost"] + quiet["lost"], _count, most=most_lost),
        row("pause of an active socket, p50", said["pause_p50"], time_text),
        row("pause of an active socket, p99", said["pause_p99"], time_text, most=longest),
        row("longest pause", said["longest"], time_text),
        *(row(f"processor time, {role}", used, time_text) for role, used in said["used"].items()),
        row(f"a frame of each of {QUIET:,} quiet sockets behind it, p99", quiet["pause_p99"], time_text),
    ]


def _count(value: float) -> str:
    return f"{value:,.0f}"


def hosted(connections: int) -> Peer:
    """The hosted application, with room for so many sockets."""
    peer = PEERS[HOSTED]
    commands = {role: list(command) for role, command in peer.processes.items()}
    commands["server"] += ["--max-connections", str(connections + SPARE_CONNECTIONS)]
    return replace(peer, processes=commands)
