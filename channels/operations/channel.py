"""``manage.py millrace channel``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer import names
from channel_layer.facts import is_alive, number, part, texts, verdict
from channel_layer.inspection import INSPECTION, Waiting
from channel_layer.layer import ChannelLayer
from channel_layer.reports import REPORTS, Report

from ..management.working import add_layer_option
from .arguments import at_least_one
from .contents import for_machines, in_words
from .overview import where
from .reaching import USAGE, need, reached

HELP = "Shows one channel: what waits there and for how long, its capacity, and who listens."


@dataclass
class ChannelFacts:
    """Facts about one channel; ``None`` where the layer cannot tell.

    Attributes:
        channel: the name that is read: a process-specific one up to its ``!``.
        capacity: how many messages it holds.
        pending: messages that wait; ``oldest``: seconds for which the first of them has.
        sent: messages that found room, since the statistics began; ``per_second`` since then; ``refused``.
        listeners: processes that receive from it.
        waited: seconds for which messages have waited on the average, as the workers report that took them.
    """

    channel: str
    capacity: int | None
    pending: float | None
    oldest: float | None
    sent: float | None
    per_second: float | None
    refused: float | None
    listeners: list[str] | None
    waited: float | None


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("channel", metavar="NAME", help="name of the channel")
    parser.add_argument(
        "--peek",
        type=at_least_one,
        metavar="N",
        help="show headers, kinds and sizes of the first N messages, and leave them where they are",
    )
    parser.add_argument("--content", action="store_true", help="with --peek: show all that the messages say")
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Look and print."""
    name, most = options["channel"], options["peek"]
    if options["content"] and not most:
        raise CommandError("--content shows what the messages of --peek N say; give both", returncode=USAGE)
    with reached(options["layer"]) as (layer, reports):
        reader = reader_of(name)
        if most:
            need(layer, INSPECTION, "be looked into")
        facts = facts_of(layer, reader, reports)
        messages = only_for(name, layer.peek(reader, most)) if most else []
    if options["json"]:
        shown = {"messages": [for_machines(waiting, options["content"]) for waiting in messages]} if most else {}
        command.stdout.write(json.dumps({**asdict(facts), **shown}))
        return
    for title, text in in_rows(facts):
        command.stdout.write(f"{command.style.MIGRATE_HEADING(title.ljust(9))} {text}")
    if facts.listeners == []:
        command.stdout.write(command.style.ERROR("no process listens there"))
    for position, waiting in enumerate(messages, 1):
        command.stdout.write(f"{position}. {waiting.age:.1f} s, {in_words(waiting, options['content'])}")


def reader_of(name: str) -> str:
    """The name that is read of a channel, which may be given in full or up to its ``!``; raises `InvalidName`."""
    return names.check_receive(name) if name.endswith("!") else names.split(names.check_channel(name))[0]


def only_for(name: str, found: Iterable[Waiting]) -> list[Waiting]:
    """Those of the messages of one process that are for a channel, or for a group, which may have it as a member."""
    local = names.split(name)[1]
    return [waiting for waiting in found if not local or waiting.group or waiting.channel == name]


def facts_of(layer: ChannelLayer, reader: str, reports: Iterable[Report]) -> ChannelFacts:
    """Ask the layer, and the reports of the processes."""
    # Some other channel of the process, if it is one: they share their queue.
    counts = layer.channel_statistics(reader + "x" * reader.endswith("!")) if "statistics" in layer.extensions else {}
    alive = [report for report in reports if is_alive(report)]
    reporting = REPORTS in layer.extensions
    return ChannelFacts(
        channel=reader,
        capacity=layer.capacity.of_reader(reader) if INSPECTION in layer.extensions else None,
        pending=counts.get("messages_pending"),
        oldest=counts.get("messages_max_age"),
        sent=counts.get("messages_count"),
        per_second=counts.get("messages_count_per_second"),
        refused=counts.get("channel_full_count"),
        listeners=[where(report) for report in alive if listens(report, reader)] if reporting else None,
        waited=_average_wait(alive, reader),
    )


def listens(report: Report, reader: str) -> bool:
    """True if a process receives from a channel, as far as its report says."""
    return report.name + "!" == reader or (verdict(report) == "running" and reader in texts(report.content, "channels"))


def in_rows(facts: ChannelFacts) -> Iterable[tuple[str, str]]:
    """The facts in lines of a title and a text."""
    yield "channel", facts.channel
    if facts.pending is not None:
        yield "waiting", f"{facts.pending:.0f}" + (f" of {facts.capacity}" if facts.capacity else "")
    if facts.oldest:
        yield "oldest", f"{facts.oldest:.1f} s"
    if facts.sent is not None:
        yield "sent", f"{facts.sent:.0f}, {facts.per_second or 0:.2f} a second"
    if facts.refused:
        yield "refused", f"{facts.refused:.0f}"
    if facts.waited is not None:
        yield "waited", f"{facts.waited:.4f} s on the average"
    for listener in facts.listeners or ():
        yield "read by", listener


def _average_wait(reports: Iterable[Report], reader: str) -> float | None:
    total = count = 0.0
    for report in reports:
        histogram = part(report.content, "waited", reader)
        counts = histogram.get("counts")
        if isinstance(counts, list):
            count += sum(some for some in counts if isinstance(some, (int, float)))
            total += number(report.content, "waited", reader, "sum")
    return total / count if count else None
