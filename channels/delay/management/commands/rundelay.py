"""``manage.py rundelay``: keep delayed messages and send them when they are due."""

from __future__ import annotations

import logging
import math
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from channels import log
from channels.delay import store
from channels.delay.worker import DelayWorker
from channels.management.working import add_layer_option, open_layer, reach

logger = logging.getLogger("channels.delay")


class Command(BaseCommand):
    """The command."""

    help = "Sends delayed messages when they are due, until it is told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        add_layer_option(parser)
        log.add_format_option(parser)
        parser.add_argument(
            "--sleep",
            type=float,
            default=1,
            metavar="SECONDS",
            help="how often to look for messages that another rundelay process has stored (default: %(default)s)",
        )

    def handle(self, *args: object, **options: Any) -> None:
        """Run until stopped."""
        if not (math.isfinite(options["sleep"]) and options["sleep"] > 0):
            raise CommandError(f"--sleep must be above 0 seconds, not {options['sleep']:g}")
        log.set_up(options["verbosity"], log_format=options["log_format"])
        layer = open_layer(options["layer"])
        if layer.local_only:
            raise CommandError(
                f"channel layer {layer.alias!r} ({layer.describe()}) reaches no further than one process, so nothing "
                "would ever arrive here. Use the sqlite or redis layer."
            )
        reach(layer)
        self._check_table()
        logger.info("Delayed messages on channel layer %r: %s", layer.alias, layer.describe())
        DelayWorker(layer, database_sleep_duration=options["sleep"]).run()

    def _check_table(self) -> None:
        try:
            exists = store.table_exists()
        except store.DATABASE_AWAY as error:
            logger.warning("the database is away (%s); starting all the same, it is tried again", error)
            return
        if not exists:
            raise CommandError("the table of delayed messages is missing. Run manage.py migrate first.")
