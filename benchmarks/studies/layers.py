"""Layers beside Redis: echoes over a file, a database or another broker, and what waiting for them costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from ..clients import once
from ..environments import MissingError, set_up
from ..figures import HEADS, middle, per_second, rate_text, row, share, spread, time_text
from ..peers import Peer, ours, over_postgres
from ..report import Section, Setting
from ..stack import RoundError, Stack
from .idle import SECONDS, idle_shares

LARGEST_SHARE = 0.01

QUIET_AFTER = 6.0
"""Seconds after the last message: by then a process that waits for a file looks for the next one less often."""

TEXT = """\
One interface server and one worker over the {layer} layer, both with their defaults: echoes of 100 bytes over 1
and over 50 sockets. Then nothing happens, and the CPU time of both processes is read over the first
{soon:.0f} s and over the {later:.0f} s after these, which is what waiting costs."""

BESIDE = """

The stacks named below use the same server and take turns, and in Channels 4 an echo never crosses the layer. So there
are messages to a group, too: one of its members sends 100 bytes, a consumer sends them to the group, and the next one
sends when all have them. Latencies are medians, until the last member has it; behind each figure is how far the rounds
were apart, as a share of the median."""

LOADS = [("echo", "/echo/", 1), ("echo", "/echo/", 50), ("group", "/group/", 1), ("group", "/group/", 50)]
"""Kind, path and sockets of what stacks over PostgreSQL are compared by."""


def sqlite(setting: Setting) -> Section:
    """Measure the layer that needs no server; see `TEXT`."""
    return _study(setting, "sqlite", longest=0.0025, least_rate=8_000)


def postgres(setting: Setting) -> Section:
    """Measure the layer over the database that ``BENCH_POSTGRES_DSN`` names, then beside another; see `TEXT`."""
    if "BENCH_POSTGRES_DSN" not in os.environ:
        raise MissingError("set BENCH_POSTGRES_DSN to a PostgreSQL database for the tables of the layer under test")
    section = _study(setting, "postgres", longest=0.003, least_rate=4_000)
    peers = over_postgres()
    for peer in list(peers):
        try:
            set_up(peer.environment)
        except MissingError as error:
            peers.remove(peer)
            section.notes.append(f"{peer.title} is left out: {error}")
    rounds = beside(setting, peers, section.notes)
    section.text += BESIDE
    section.table += rows_beside(rounds)
    section.data["beside"] = rounds
    return section


def rabbitmq(setting: Setting) -> Section:
    """Measure the layer over the broker that ``BENCH_RABBITMQ_URL`` names; see `TEXT`."""
    if "BENCH_RABBITMQ_URL" not in os.environ:
        raise MissingError("set BENCH_RABBITMQ_URL to a RabbitMQ server for the queues of the layer under test")
    return _study(setting, "rabbitmq")


def beside(setting: Setting, peers: Sequence[Peer], notes: list[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Measure stacks in turns, after a warm-up round each; the rounds by load and by the peer's title.

    Args:
        setting: number and length of the rounds.
        peers: which.
        notes: takes why a peer has no figures for a load.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with ExitStack() as running:
        stacks = [running.enter_context(Stack(peer)) for peer in peers]
        for kind, path, sockets in LOADS:
            load = f"{kind}, {sockets} socket{'' if sockets == 1 else 's'}"
            rounds = found[load] = {peer.title: [] for peer in peers}
            for number in range(setting.rounds + 1):
                for stack in stacks:
                    title = stack.peer.title
                    if title not in rounds:
                        continue
                    try:
                        said = once(stack, kind, path=path, sockets=sockets, seconds=setting.seconds if number else 1.0)
                    except RoundError as error:
                        del rounds[title]  # once is enough: it would stall every round
                        notes.append(f"{load}: {error}")
                    else:
                        if number:
                            rounds[title].append(said)
                            setting.tell(f"{load}, {title}: {time_text(said['p50'])}, {rate_text(per_second(said))}")
                    stack.settle()
    return found


def rows_beside(found: dict[str, dict[str, list[dict[str, Any]]]]) -> list[list[str]]:
    """Rows of the table: for one socket the latency, for more the rate."""
    rows = []
    for load, rounds in found.items():
        for title, each in rounds.items():
            if " 1 socket" in load:
                values = [float(said["p50"]) for said in each]
                name, figure = f"{load}, p50: {title}", time_text(middle(values))
            else:
                values = [per_second(said) for said in each]
                name, figure = f"{load}: {title}", rate_text(middle(values))
            apart = spread(values)
            rows.append([name, figure if apart is None else f"{figure} ({apart:.0%})", "", ""])
    return rows


def _study(setting: Setting, layer: str, longest: float | None = None, least_rate: float | None = None) -> Section:
    echoes: dict[int, list[dict[str, Any]]] = {1: [], 50: []}
    with Stack(ours(layer=layer)) as stack:
        for sockets, rounds in echoes.items():
            once(stack, "echo", path="/echo/", sockets=sockets, seconds=1.0)
            for _ in range(setting.rounds):
                rounds.append(once(stack, "echo", path="/echo/", sockets=sockets, seconds=setting.seconds))
                said = f"{time_text(rounds[-1]['p50'])}, {rate_text(per_second(rounds[-1]))}"
                setting.tell(f"{layer}, echo over {sockets}: {said}")
                stack.settle()
        soon = idle_shares(stack, 1, QUIET_AFTER)
        shares = idle_shares(stack, setting.rounds)
    table = [
        HEADS,
        row("echo, 1 socket, p50", middle(each["p50"] for each in echoes[1]), time_text, most=longest),
        row("the same, p99", middle(each["p99"] for each in echoes[1]), time_text),
        row("echo, 50 sockets", middle(map(per_second, echoes[50])), rate_text, least=least_rate),
        row("the same, p99", middle(each["p99"] for each in echoes[50]), time_text),
    ]
    for role, idle in shares.items():
        table.append(row(f"idle {role}, of one processor", middle(idle), share, most=LARGEST_SHARE))
        table.append(row(f"the same, first {QUIET_AFTER:.0f} s", middle(soon[role]), share))
    text = TEXT.format(layer=layer, soon=QUIET_AFTER, later=SECONDS)
    return Section(f"{layer} layer", text, table, {"echo": echoes, "idle": shares, "idle at first": soon})
