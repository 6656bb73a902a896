"""A restart of the web server under many sockets, which the next one takes over."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from typing import Any

from ..clients import Client, once
from ..figures import HEADS, row, time_text
from ..peers import Peer, ours
from ..report import Section, Setting
from ..stack import Stack
from .redeploy import hosted

WARM_UP = 200
QUIET = 4_500
ACTIVE = 500

BEFORE = 2.0
SECONDS = 12.0
"""Length of the load, and of what it runs before the second server is started."""

LONGEST = 5.0

TEXT = f"""\
One interface server holds {QUIET + ACTIVE:,} sockets. {ACTIVE} of them are active: each sends a numbered frame of
100 bytes every half second, whether or not the last one was answered. Another server is started with the same command,
`--takeover` among it, and the old one ends. *Handing over* is the time from when the new one asked until all sockets
were open in it, as it says itself. A *pause* is the longest time that an active socket waited for one of its answers.
Every answer is compared: one that comes twice or in another order fails the study. Behind it every quiet socket sends a
frame within half a second."""


def study(setting: Setting) -> Section:
    """Take over plain sockets, and those of a hosted application; see `TEXT`."""
    table = [HEADS]
    found = {}
    for what, peer in (("functions", ours(connections=QUIET + ACTIVE)), ("hosted", hosted(QUIET + ACTIVE))):
        said = found[what] = _taken_over(peer)
        setting.tell(f"takeover, {what}: {said['seconds']:.2f} s, pauses up to {time_text(said['longest'])}")
        table += [
            row(f"{what}: handing over {QUIET + ACTIVE:,} sockets", said["seconds"], time_text, most=LONGEST),
            row("sockets closed", said["closed"] + said["quiet"]["closed"], _count, most=0),
            row("frames lost", said["lost"] + said["quiet"]["lost"], _count, most=0),
            row("pause of an active socket, p50", said["pause_p50"], time_text),
            row("longest pause", said["longest"], time_text, most=LONGEST),
        ]
    return Section("Takeover", TEXT, table, found)


def _taken_over(peer: Peer) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="millrace-takeover-") as directory:
        commands = {role: list(command) for role, command in peer.processes.items()}
        server = commands["server"]
        server[server.index("-v") + 1] = "1"
        server += ["--access-log", os.devnull, "--takeover", f"{directory}/socket"]
        with Stack(replace(peer, processes=commands)) as stack:
            once(stack, "echo", path="/echo/", sockets=WARM_UP, seconds=1.0)
            stack.settle()
            with Client(stack, "steady", path="/echo/", sockets=QUIET, seconds=0.5, browser=True) as quiet:
                stack.settle()
                with Client(stack, "steady", path="/echo/", sockets=ACTIVE, seconds=SECONDS) as active:
                    stack.settle()
                    active.go()
                    time.sleep(BEFORE)
                    stack.succeed("server", 2)
                    said = active.result()
                said["seconds"] = stack.seconds_of("server 2", "Took over")
                said["quiet"] = quiet.run()
            return said


def _count(value: float) -> str:
    return f"{value:,.0f}"
