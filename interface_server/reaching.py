"""A first look at the channel layer, before anybody is served."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer

logger = logging.getLogger("interface_server")


def reach(layer: ChannelLayer) -> None:
    """Reach for the layer's broker once. Blocks. One that is away is waited for later on.

    Raises:
        LayerConfigurationError: it cannot be used.
    """
    try:
        layer.check()
    except LayerConfigurationError:
        raise
    except LayerUnavailable as error:
        logger.warning("%s; starting anyway and trying again until it answers", clause(error))


async def areach(layer: ChannelLayer) -> None:
    """Do the same beside the event loop, in a thread that ends, and with it what it has opened."""
    executor = ThreadPoolExecutor(1, "interface-server-reach")
    try:
        await asyncio.get_running_loop().run_in_executor(executor, reach, layer)
    finally:
        executor.shutdown(wait=False)
