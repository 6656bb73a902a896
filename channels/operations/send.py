"""``manage.py millrace send``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer import names
from channel_layer.facts import is_alive
from channel_layer.reports import REPORTS, Report
from routing import RoutingError

from ..configured_layers import ChannelLayerWrapper
from ..management.working import add_layer_option
from .channel import listens
from .reaching import USAGE, WRONG, reached

HELP = "Sends a message to a channel: to consumers of your own, or to a connection by the name of its reply channel."


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("channel", metavar="CHANNEL", help="full name of the channel")
    parser.add_argument("message", metavar="JSON", help="the message, a JSON object; - reads it from standard input")
    parser.add_argument("--anyway", action="store_true", help="send it even if nobody is known to read the channel")
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Check, send, and say so."""
    channel, message = options["channel"], parsed(options["message"])
    with reached(options["layer"]) as (layer, reports):
        names.check_channel(channel)
        if not options["anyway"] and not is_known(layer, channel, reports):
            raise CommandError(
                f"nobody is known to read {channel}: no process listens there, and the routing has no such channel; "
                "--anyway sends the message nevertheless",
                returncode=WRONG,
            )
        layer.send(channel, message)
    if options["json"]:
        command.stdout.write(json.dumps({"sent": True, "channel": channel}))
    else:
        command.stdout.write(f"sent to {channel}")


def parsed(text: str) -> dict[str, Any]:
    """The message of the command line, or of standard input; raises `CommandError`."""
    try:
        message = json.loads(sys.stdin.read() if text == "-" else text)
    except RecursionError:
        raise CommandError("the message is nested too deeply", returncode=USAGE) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise CommandError(f"the message is not JSON: {error}", returncode=USAGE) from error
    if not isinstance(message, dict):
        raise CommandError(
            f'the message must be a JSON object like {{"text": "hello"}}, not {type(message).__name__}',
            returncode=USAGE,
        )
    return message


def is_known(layer: ChannelLayerWrapper, channel: str, reports: Iterable[Report]) -> bool:
    """True if a process reads a channel, or would after a start, or if nobody can tell."""
    reader = names.split(channel)[0]
    if any(is_alive(report) and listens(report, reader) for report in reports):
        return True
    if reader.endswith("!"):
        return REPORTS not in layer.extensions
    try:
        return reader in layer.own_router().channels
    except RoutingError:
        return False
