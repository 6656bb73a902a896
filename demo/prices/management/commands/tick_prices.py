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
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit())
        try:
            while True:
                self.tick()
                time.sleep(1 - time.time() % 1)
        except KeyboardInterrupt:
            pass

    def tick(self) -> None:
        """Push what is due. If that fails it is logged, and the next tick goes on from the last price kept."""
        close_old_connections()
        try:
            push(int(time.time()))
        except (DatabaseError, ChannelLayerError) as error:
            logger.warning("no new price: %s", error)
