"""Memory of idle WebSockets, and handshakes a second."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise
from typing import Any

from ..clients import Client, once
from ..figures import HEADS, kibibytes, middle, per_second, rate_text, row, time_text
from ..machine import memory_bytes
from ..peers import ours, uvicorn
from ..report import Section, Setting
from ..stack import RoundError, Stack

HELD = [5_000, 10_000]
HELD_BY_CHANNELS = [1_000]
"""Fewer, because opening them takes Channels 4 a second for every two hundred."""

WARM_UP = 200
CONCURRENT = 100

LARGEST = 30 * 1_024
LARGEST_DIFFERENCE = 10 * 1_024
LEAST_PLAIN, LEAST_JOINING = 2_000, 1_500

TEXT = f"""\
**Memory**: what the resident memory (RSS) of the process that holds the sockets grew by, divided by the
sockets, while clients hold so many idle ones. Pages that it shares with other processes are there before and do
not grow. {WARM_UP} sockets were opened and closed before, so that nothing which is made once is in it.
uvicorn's row is its own protocol under an application that accepts and waits: what a socket costs before any
framework sees it. What the kernel keeps for a socket is in neither.

**Handshakes**: {CONCURRENT} at a time are opened, closed with 1000, and opened again once the server has
answered the close; one counts when it is closed. With `/echo/` no consumer of the project runs at connect, with
`/group/` one joins a group, and another leaves it at the end."""


def study(setting: Setting) -> Section:
    """Hold idle sockets, then open and close them in a loop; see `TEXT`."""
    memory = _memory(setting)
    handshakes, notes = _handshakes(setting)
    sizes = {who: {int(count): middle(each) for count, each in found.items()} for who, found in memory.items()}
    more = sizes["millrace"][HELD[-1]] - sizes["uvicorn"][HELD[-1]]
    table = [
        HEADS,
        *(row(f"{count:,} idle sockets, each", sizes["millrace"][count], kibibytes, most=LARGEST) for count in HELD),
        *(row(f"uvicorn alone, {count:,}", size, kibibytes) for count, size in sizes["uvicorn"].items()),
        row("more than uvicorn alone", more, kibibytes, most=LARGEST_DIFFERENCE),
        *(row(f"Channels 4, uvicorn, {count:,}", size, kibibytes) for count, size in sizes["channels4"].items()),
    ]
    for path, least, what in (
        ("/echo/", LEAST_PLAIN, "handshakes, no consumer"),
        ("/group/", LEAST_JOINING, "handshakes, joining a group"),
    ):
        rounds = handshakes["millrace"][path]
        table.append(row(what, middle(map(per_second, rounds)), rate_text, least=least))
        table.append(row("the same, p99", middle(each["p99"] for each in rounds), time_text))
        if theirs := handshakes["channels4"].get(path):
            table.append(row("the same, Channels 4, uvicorn", middle(map(per_second, theirs)), rate_text))
    return Section("Connections", TEXT, table, {"bytes per socket": memory, "handshakes": handshakes}, notes)


def _memory(setting: Setting) -> dict[str, dict[str, list[float]]]:
    """Bytes per socket by peer and sockets, one figure each: a second one of the same server would reuse memory."""
    found = {}
    for who, peer, path, counts in (
        ("millrace", ours(connections=HELD[-1]), "/echo/", HELD),
        ("uvicorn", uvicorn("project.bare:application"), "/", HELD),
        ("channels4", uvicorn(), "/echo/", HELD_BY_CHANNELS),
    ):
        with Stack(peer) as stack:
            found[who] = {str(count): [size] for count, size in held(stack, path, counts).items()}
        for count, sizes in found[who].items():
            setting.tell(f"connections, {who}, {count} idle sockets: {kibibytes(sizes[0])} each")
    return found


def held(stack: Stack, path: str, counts: list[int]) -> dict[int, float]:
    """Bytes per socket by number of idle sockets, which grows while the earlier ones stay open."""
    process = stack.processes["server"].pid
    once(stack, "hold", path=path, sockets=WARM_UP)
    stack.settle()
    before = memory_bytes(process)
    sizes = {}
    with ExitStack() as clients:
        holding: list[Client] = []
        for count, more in zip(counts, [counts[0], *(later - now for now, later in pairwise(counts))], strict=True):
            holding.append(clients.enter_context(Client(stack, "hold", path=path, sockets=more)))
            stack.settle(3.0)
            sizes[count] = (memory_bytes(process) - before) / count
        for client in holding:
            client.run()  # fails if one of its sockets was closed meanwhile
    return sizes


def _handshakes(setting: Setting) -> tuple[dict[str, dict[str, list[dict[str, Any]]]], list[str]]:
    """Rounds by peer and path, taking turns, and failures of the peer, which cost no other figure."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {"millrace": {}, "channels4": {}}
    notes: list[str] = []
    with Stack(ours()) as own, Stack(uvicorn()) as other:
        for path in ("/echo/", "/group/"):
            for number in range(setting.rounds + 1):
                for who, stack in (("millrace", own), ("channels4", other)):
                    seconds = setting.seconds if number else 1.0
                    try:
                        said = once(stack, "handshakes", path=path, sockets=CONCURRENT, seconds=seconds)
                    except RoundError as error:
                        if who == "millrace":
                            raise
                        notes.append(f"{path}: {error}")
                        continue
                    if number:
                        found[who].setdefault(path, []).append(said)
                        setting.tell(f"connections, {who}, handshakes of {path}: {rate_text(per_second(said))}")
                    stack.settle()
    return found, list(dict.fromkeys(notes))
