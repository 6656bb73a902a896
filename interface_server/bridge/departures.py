"""Removal of closed connections from their groups."""

from __future__ import annotations

import asyncio
import logging

from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer

from .uplink import Uplink

logger = logging.getLogger("interface_server")

PAUSE_SECONDS = 0.5


class Departures:
    """Collects reply channels that are gone and has the layer remove them from every group.

    Args:
        layer: any channel layer.
        uplink: knows whether the layer answers.
    """

    def __init__(self, layer: ChannelLayer, uplink: Uplink) -> None:
        self._layer = layer
        self._uplink = uplink
        self._gone: set[str] = set()

    def add(self, channels: list[str]) -> None:
        """Note reply channels that are gone; returns at once."""
        self._gone.update(channels)

    async def run(self) -> None:
        """Remove them, until cancelled. A task of its own, so that a slow layer holds up no deadline."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            await self.sweep()

    async def sweep(self) -> None:
        """Remove what was noted so far, unless the layer is away. Members that stay expire by themselves."""
        if not self._gone or self._uplink.down is not None:
            return
        gone, self._gone = self._gone, set()
        try:
            await self._layer.aforget(gone)
        except LayerUnavailable:
            logger.warning("%d closed connections could not be removed from their groups; they expire there", len(gone))
        except Exception:
            logger.exception("removing %d closed connections from their groups failed; they expire there", len(gone))
