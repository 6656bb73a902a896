"""``manage.py millrace verify``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..backends import InvalidChannelLayerError
from ..management.working import add_layer_option, open_layer
from .faults import FAULTS
from .plan import VerificationError
from .report import Outcome, as_json, as_table
from .running import chosen, left_out, verify

HELP = (
    "Starts web servers and workers with the project's settings, in a part of the channel layer of their own, and "
    "stops, kills and freezes them under load. Says of each fault what was lost, came twice or out of order. The "
    "status is 1 if something is not as promised."
)

SOCKETS = 8
RATE = 5.0


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    add_layer_option(parser)
    parser.add_argument("--quick", action="store_true", help="leave out the faults that take more than a minute")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FAULT",
        help="try this fault; may be repeated. One of " + ", ".join(fault.name for fault in FAULTS),
    )  # fmt: skip
    parser.add_argument(
        "--own-redis",
        action="store_true",
        help="start a Redis server in place of the project's, and break it too",
    )
    parser.add_argument(
        "--sockets",
        type=int,
        default=SOCKETS,
        metavar="N",
        help="WebSockets of each of three kinds (default: %(default)s)",
    )
    parser.add_argument(
        "--rate", type=float, default=RATE, metavar="N", help="frames a second of each WebSocket (default: %(default)g)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="on a busy machine: everything may take so many times as long (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    parser.add_argument("--logs", type=Path, metavar="DIRECTORY", help="keep what the processes print here")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    """Verify, and print the outcome."""
    if options["sockets"] < 2:
        raise CommandError(f"--sockets must be 2 or more, one for each web server, not {options['sockets']}")
    if not options["rate"] > 0:
        raise CommandError(f"--rate must be more than 0 frames a second, not {options['rate']:g}")
    if not options["patience"] >= 1:
        raise CommandError(f"--patience must be 1 or more, not {options['patience']:g}")
    layer = open_layer(options["layer"])
    try:
        faults = chosen(options["layer"], options["only"], options["quick"], options["own_redis"])
        with click.progressbar(
            length=len(faults), label="Verifying", file=sys.stderr, item_show_func=lambda text: text
        ) as progress:
            progress.update(0, faults[0].text)

            def tell(outcome: Outcome) -> None:
                position = faults.index(outcome.fault) + 1
                progress.update(1, faults[position].text if position < len(faults) else "")

            with _unwinding():
                outcomes = verify(
                    options["layer"],
                    faults,
                    options["sockets"],
                    options["rate"],
                    options["patience"],
                    options["own_redis"],
                    options["logs"],
                    tell,
                )
    except (VerificationError, InvalidChannelLayerError) as error:
        raise CommandError(str(error)) from error
    finally:
        layer.close()
    if not options["only"] and (text := left_out(options["layer"], faults)):
        command.stderr.write(command.style.NOTICE(text))
    if options["json"]:
        command.stdout.write(as_json(outcomes, layer.describe()))
    else:
        command.stdout.write(as_table(outcomes))
        for outcome in outcomes:
            for text in outcome.broken:
                command.stdout.write(command.style.ERROR(f"{outcome.fault.name}: {text}"))
    if any(outcome.broken for outcome in outcomes):
        sys.exit(1)


@contextmanager
def _unwinding() -> Iterator[None]:
    """Have SIGTERM end what runs as Ctrl-C does, so that the processes are ended and nothing is left on the broker."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
