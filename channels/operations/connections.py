"""``manage.py millrace connections``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer.exceptions import InvalidName
from channel_layer.layer import ChannelLayer
from channel_layer.names import check_group

from .asking import ask, web_servers
from .reaching import USAGE
from .tables import plural, write_table
from .terminal import Found, add_common_options, age, run, shown, some

HELP = (
    "Lists the connections of all web servers: WebSockets, and requests under way. A user is shown, and found by "
    "--user, once a worker has told the name: when a consumer has looked at message.user, or scope has one."
)

LIMIT = 100

COLUMNS = ("connection", "kind", "path", "client", "age", "user", "groups", "worker")


def add_filters(parser: CommandParser) -> None:
    """Declare the options that say which connections."""
    parser.add_argument("--path", default="", metavar="PREFIX", help="those whose path begins so")
    parser.add_argument("--user", default="", metavar="NAME", help="those of a user, as far as that is known")
    parser.add_argument("--group", default="", metavar="NAME", help="those in a group")


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    add_filters(parser)
    parser.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help="how many to list; all are counted (default: %(default)s)"
    )
    add_common_options(parser)


def filters(options: dict[str, Any]) -> dict[str, Any]:
    """The filters as a question has them; raises `CommandError` for a name that no group can have."""
    if options["group"]:
        try:
            check_group(options["group"])
        except InvalidName as error:
            raise CommandError(str(error), returncode=USAGE) from error
    return {key: options[key] for key in ("path", "user", "group")}


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Ask and print."""
    asked, limit = filters(options), options["limit"]
    if limit < 0:
        raise CommandError(f"--limit must be 0 or more, not {limit}", returncode=USAGE)
    run(command, options, lambda layer: find(layer, limit, **asked), lambda found: show(command, found))


def find(layer: ChannelLayer, limit: int, **asked: object) -> Found:
    """The connections that fit, the oldest first; raises `AskingError`."""
    answers = ask(layer, web_servers(layer), "connections", limit=limit, **asked)
    rows = sorted(answers.rows(), key=lambda row: -float(row["age"]))[:limit]
    return {"count": answers.count(), "connections": rows, "problems": answers.problems}


def show(command: BaseCommand, found: Found) -> None:
    """Print a table, and how many there are."""
    rows = found["connections"]
    if rows:
        write_table(command, COLUMNS, [line_of(row) for row in rows])
        command.stdout.write("")
    count = found["count"]
    text = plural(count, "connection")
    command.stdout.write(text if len(rows) == count else f"{text}, {len(rows)} shown; --limit N shows N")


def line_of(row: dict[str, Any]) -> list[str]:
    """A connection in a line."""
    state = "" if row["state"] == "open" else f" ({row['state']})"
    return [
        row["name"],
        row["kind"] + state,
        shown(row["path"]),
        shown(row["client"]),
        age(row["age"]),
        shown(row["user"]),
        some(row["groups"], row["groups_count"]),
        shown(row["worker"]),
    ]
