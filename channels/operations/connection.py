"""``manage.py millrace connection NAME``."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from channel_layer.layer import ChannelLayer

from .asking import AskingError, ask, server_of
from .terminal import Found, add_common_options, age, run, shown, some

HELP = (
    "Shows one connection: age, user, groups, the turn under way, consumer, what waits, and its last ten events, "
    "without their content. Events are kept from the first look on, or from the start with daphne --trace-events."
)

NOT_KEPT = "from now on the last ten are kept; look again"


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="its name, as manage.py millrace connections lists it")
    add_common_options(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Ask and print."""
    run(command, options, lambda layer: find(layer, options["name"]), lambda found: show(command, found))


def find(layer: ChannelLayer, name: str) -> Found:
    """All that is known of a connection; raises `AskingError` if it is gone."""
    server = server_of(layer, name)
    answers = ask(layer, [server], "connection", name=name)
    pages = answers.pages.get(server.name)
    row = pages[0].get("row") if pages else None
    if pages and row is None:
        raise AskingError(f"{server.name} has no connection {name}; it is closed")
    return {"connection": row, "problems": answers.problems}


def show(command: BaseCommand, found: Found) -> None:
    """Print a line for each fact, then the events."""
    row = found["connection"]
    if row is None:
        return
    for name, text in facts(row):
        command.stdout.write(f"{name:12} {text}")
    command.stdout.write("events")
    for at, word, size in row["events"] or ():
        command.stdout.write(f"  {clock(at)}  {word}" + (f", {size} bytes" if size else ""))
    if row["events"] is None:
        command.stdout.write(f"  {NOT_KEPT}" if row["kind"] == "websocket" else "  none are kept of requests")


def facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of what is known of a connection."""
    turn = row["turn"]
    if turn is None:
        at = "none under way"
    else:
        where = "" if turn["stored"] else ", on its way to the channel layer"
        consumer = f", in {turn['consumer']}" if turn["consumer"] else ""
        at = f"{turn['number']}, for {turn['seconds']:.1f} s{where}{consumer}"
    return [
        ("connection", row["name"]),
        ("kind", f"{row['kind']}, {row['state']}"),
        ("path", shown(row["path"])),
        ("client", shown(row["client"])),
        ("age", age(row["age"])),
        ("user", shown(row["user"], "not known")),
        ("groups", some(row["groups"], row["groups_count"], most=len(row["groups"]))),
        ("consumer", shown(row["consumer"], "not known")),
        ("worker", shown(row["worker"], "not known")),
        ("turn", at),
        ("outbox", f"{row['outbox_bytes']} bytes wait for the client"),
        ("read ahead", f"{row['read_ahead_bytes']} bytes wait for their turn"),
    ]


def clock(at: float) -> str:
    """A time of day with milliseconds."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 1000):03}"
