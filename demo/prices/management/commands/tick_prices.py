"""``manage.py tick_prices``: a new price of each coin every second."""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from channel_layer.exceptions import ChannelLayerError
from demo.prices.market import push

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """The command."""

    help = "Pushes a new price of each coin every second, until it is told to stop (SIGTERM or Ctrl-C)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        # What a process before this one kept but did not tell is told again; a page knows a price by its second.
        self.told = 0
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit())
        try:
            while True:
                self.tick()
                time.sleep(1 - time.time() % 1)
        except KeyboardInterrupt:
            pass

    def tick(self) -> None:
        """Push what is due. If that fails it is logged, and the next tick tells those prices too."""
        close_old_connections()
        now = int(time.time())
        try:
            push(self.told, now)
        except (DatabaseError, ChannelLayerError) as error:
            logger.warning("no new price: %s", error)
        else:
            self.told = now
