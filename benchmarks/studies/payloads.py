"""Large messages and large bodies: bytes a second, and what they do to the memory of each process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..clients import once
from ..figures import HEADS, mebibytes, megabytes_per_second, middle, ratio_text, row
from ..machine import memory_bytes
from ..peers import ours, uvicorn
from ..report import Section, Setting
from ..stack import Stack

SIZES = {1_024: "1 KiB", 65_536: "64 KiB", 1_048_576: "1 MiB"}
SOCKETS = 4

LARGEST = SIZES[max(SIZES)]
LEAST_RATIO = 0.4
"""The part of the speed of the other side that echoes of the largest size should come to."""

BODY = 100_000_000
WARM_UP = 4_000_000
"""Bytes of the body before: more than may be on its way at once, too little to hide that all of it is kept."""

BODIES = {"upload": "/upload/", "download": "/download/"}
FLAT = 32 * 1_048_576
"""Growth up to which memory counts as flat: what may be on its way at once, a third of one copy of the body."""

LOOK_SECONDS = 0.02

TEXT = f"""\
**Messages**: {SOCKETS} sockets echo binary messages, one on its way each; every byte of every echo is compared.
MB/s is payload in one direction.

**Bodies**: one upload of {BODY // 1_000_000} MB, which the view reads in chunks of 64 KiB and answers with size
and CRC-32, and one download, a `StreamingHttpResponse` of 64 KiB blocks, which the client checks. Growth is the
highest resident memory (RSS) of a process during the transfer, looked at every {LOOK_SECONDS * 1000:.0f} ms,
above that before it; after a transfer of {WARM_UP // 1_000_000} MB that is not counted. That of Redis is given
because what is on its way is there. Flat is up to {FLAT // 1_048_576} MiB."""

Round = dict[str, Any]
Rounds = dict[str, list[Round]]
"""By peer."""

TITLES = {"millrace": "Millrace", "channels4": "Channels 4, uvicorn"}


def study(setting: Setting) -> Section:
    """Measure both on both sides; see `TEXT`."""
    data: dict[str, Rounds] = {}
    with Stack(ours()) as own, Stack(uvicorn()) as other:
        for size, name in SIZES.items():

            def echoes(stack: Stack, measured: bool, size: int = size) -> Round:
                seconds = setting.seconds if measured else 1.0
                said = once(stack, "messages", path="/bytes/", sockets=SOCKETS, seconds=seconds, size=size)
                return {**said, "speed": said["count"] * size / said["seconds"]}

            data[name] = _rounds(setting, {"millrace": own, "channels4": other}, f"echo of {name}", echoes)
    with Stack(ours()) as own, Stack(uvicorn()) as other:  # new ones, which have not held anything large yet
        for kind, path in BODIES.items():

            def body(stack: Stack, measured: bool, kind: str = kind, path: str = path) -> Round:
                with watched(stack) as growth:
                    said = once(stack, kind, path=path, size=BODY if measured else WARM_UP)
                return {**said, "speed": BODY / said["seconds"], "growth": growth}

            data[kind] = _rounds(setting, {"millrace": own, "channels4": other}, kind, body)
    return Section("Payloads", TEXT, table(data), data)


def _rounds(setting: Setting, stacks: dict[str, Stack], what: str, measure: Callable[[Stack, bool], Round]) -> Rounds:
    """Rounds of each stack, taking turns, after one that does not count."""
    found: Rounds = {who: [] for who in stacks}
    for number in range(setting.rounds + 1):
        for who, stack in stacks.items():
            said = measure(stack, number > 0)
            if number:
                found[who].append(said)
                setting.tell(f"payloads, {who}, {what}: {megabytes_per_second(said['speed'])}")
            stack.settle()
    return found


def table(data: dict[str, Rounds]) -> list[list[str]]:
    """The figures of both sides."""
    rows = [HEADS]
    for name in [*SIZES.values(), *BODIES]:
        for who, title in TITLES.items():
            rounds = data[name][who]
            what = name if name in BODIES else f"echo of {name}"
            rows.append(row(f"{what}, {title}", middle(each["speed"] for each in rounds), megabytes_per_second))
            for role in rounds[0].get("growth", ()):
                growth = middle(each["growth"][role] for each in rounds)
                what = f"growth of its {'Redis' if role == 'redis' else role}"
                rows.append(row(what, growth, mebibytes, most=FLAT if who == "millrace" else None))
        if name == LARGEST:
            own, other = (middle(each["speed"] for each in data[name][who]) for who in TITLES)
            rows.append(row("the one beside the other", own / other, ratio_text, least=LEAST_RATIO))
    return rows


@contextmanager
def watched(stack: Stack) -> Iterator[dict[str, int]]:
    """Watch the memory of a stack's processes during the block; afterwards there is the growth by role."""
    processes = {role: process.pid for role, process in stack.processes.items() if role in stack.peer.processes}
    if "worker" in processes:
        processes["redis"] = stack.processes["redis"].pid  # only there it carries bodies
    before = {role: memory_bytes(pid) for role, pid in processes.items()}
    highest = dict(before)
    growth: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for role, pid in processes.items():
                highest[role] = max(highest[role], memory_bytes(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield growth
    finally:
        over.set()
        watcher.join()
    growth.update({role: highest[role] - before[role] for role in processes})
