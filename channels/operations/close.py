"""``manage.py millrace close``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer.layer import ChannelLayer
from channel_layer.questions import MOST_REASON, may_be_sent

from . import connection
from .asking import AskingError, ask, server_of, web_servers
from .connections import add_filters, filters
from .consent import add_consent_option, consents
from .reaching import USAGE
from .tables import plural
from .terminal import Found, add_common_options, run

HELP = (
    "Closes WebSockets: one by its name, or all of a group, of a user as far as that is known, or with a path. A "
    "handshake that waits gets 403. It says first how many there are, and asks."
)


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="the name of one connection")
    add_filters(parser)
    parser.add_argument(
        "--code", type=int, default=1000, metavar="CODE", help="close code, 1000 to 4999 (default: %(default)s)"
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="what clients are told, at most 123 bytes")
    add_consent_option(parser)
    add_common_options(parser)


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Count, ask for consent, and close."""
    asked = filters(options) | {"name": options["name"]}
    if sum(map(bool, asked.values())) != 1:
        sentence = "say which: the NAME of one connection, or one of --group, --user and --path"
        raise CommandError(sentence, returncode=USAGE)
    if not may_be_sent(options["code"]):
        sentence = f"--code must be 1000 to 4999, and not 1004, 1005, 1006 or 1015, not {options['code']}"
        raise CommandError(sentence, returncode=USAGE)
    if len(options["reason"].encode()) > MOST_REASON:
        raise CommandError(f"--reason must have at most {MOST_REASON} bytes", returncode=USAGE)

    def find(layer: ChannelLayer) -> Found:
        problems, text = [], "Close this WebSocket?"
        if not asked["name"]:
            counted = ask(layer, web_servers(layer), "connections", limit=0, kind="websocket", **asked)
            count, problems = counted.count(), counted.problems
            text = f"Close {plural(count, 'WebSocket')}?"
        elif connection.find(layer, asked["name"])["connection"] is None:
            raise AskingError(f"the web server of {asked['name']} does not answer")
        if not consents(command, options, text):
            return {"closed": 0, "problems": problems}
        return close(layer, options["code"], options["reason"], **asked)

    run(command, options, find, lambda found: command.stdout.write(text_of(found["closed"])))


def close(layer: ChannelLayer, code: int, reason: str, **asked: object) -> Found:
    """Close the WebSockets that fit; raises `AskingError`."""
    servers = [server_of(layer, str(asked["name"]))] if asked.get("name") else web_servers(layer)
    answers = ask(layer, servers, "close", code=code, reason=reason, **asked)
    return {"closed": answers.count(), "problems": answers.problems}


def text_of(count: int) -> str:
    """The result in a sentence."""
    return f"{plural(count, 'WebSocket')} closed"
