"""``manage.py millrace flush``."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channel_layer import names
from channel_layer.delivery import Delivery
from channel_layer.exceptions import ChannelLayerError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from workers.hangs import answers

from ..management.working import add_layer_option
from .consent import add_consent_option, consents
from .reaching import AWAY, USAGE, WRONG, reached
from .tables import plural

HELP = (
    "Removes the messages that wait on a channel. Who waits for an answer is told that there will be none: "
    "a request gets 500, and a WebSocket goes on with its next frame."
)

BATCH = 100


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    parser.add_argument("channel", metavar="CHANNEL", help="name of the channel")
    add_consent_option(parser)
    add_layer_option(parser)
    parser.add_argument("--json", action="store_true", help="print an object for machines")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Ask, remove, and tell how many there were."""
    channel = options["channel"]
    with reached(options["layer"]) as (layer, _):
        if "!" in channel:
            raise CommandError(
                f"{channel} is a channel of one process, which keeps its memberships and answers there; "
                "what others read can be flushed",
                returncode=USAGE,
            )
        names.check_channel(channel)
        counts = layer.channel_statistics(channel) if "statistics" in layer.extensions else {}
        waiting = counts.get("messages_pending")
        what = "all messages" if waiting is None else plural(waiting, "message")
        if waiting == 0:
            removed = told = 0
        elif consents(command, options, f"Remove {what} from {channel}?"):
            removed, told = empty(layer, channel, waiting)
        else:
            raise CommandError("nothing was removed", returncode=WRONG)
    if options["json"]:
        command.stdout.write(json.dumps({"channel": channel, "removed": removed, "told": told}))
    elif waiting == 0:
        command.stdout.write(f"no message waits on {channel}")
    else:
        heard = f"; {plural(told, 'sender')} told" if told else ""
        command.stdout.write(f"{plural(removed, 'message')} removed from {channel}{heard}")


def empty(layer: ChannelLayer, channel: str, waiting: float | None) -> tuple[int, int]:
    """Take messages off a channel; returns how many, and how many senders were told.

    Not more than there were: a channel that is sent to all the time would never be empty.

    Raises:
        CommandError: the layer went away; the sentence has the number.
    """
    removed = told = 0
    try:
        while waiting is None or removed < waiting:
            most = BATCH if waiting is None else min(BATCH, int(waiting) - removed)
            taken = layer.receive_batch([channel], limit=most)
            if not taken:
                break
            removed += len(taken)
            told += tell(layer, taken)
    except LayerUnavailable as error:
        raise CommandError(
            f"{clause(error)}; until then {plural(removed, 'message')} removed", returncode=AWAY
        ) from error
    return removed, told


def tell(layer: ChannelLayer, taken: list[Delivery]) -> int:
    """Tell those who wait for the answer to a message that there will be none; returns how many there were."""
    words = []
    for delivery in taken:
        try:
            words += answers(layer, delivery, delivery.message.get("reply_channel"), hangs=False)
        except ChannelLayerError:
            continue  # what it calls its reply channel is no name
    return len(words) - len(layer.send_batch(words)) if words else 0
