"""Messages for connections that stayed with the old server, which receives nothing any more.

Both servers have one name, and so one queue. The new one receives, and passes on what is for connections that it does
not have: answers to requests that the old one still has to finish. If it ends first, the old one receives again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Final

from channel_layer.delivery import Delivery

from ..gateway import Gateway
from .passage import HEAD, decode, encode, length_of

logger = logging.getLogger("interface_server.takeover")

SIGN_SECONDS: Final = 1.0
"""Pause between two signs of the new server that it is in touch with the layer."""


class Relay:
    """The end of the new server.

    Args:
        gateway: of this process, which receives.
        passage: to the old server.
    """

    def __init__(self, gateway: Gateway, passage: socket.socket) -> None:
        self._gateway = gateway
        self._passage = passage
        self._writer: asyncio.StreamWriter
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to pass on."""
        self._passage.setblocking(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=self._passage)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._give_signs()), loop.create_task(self._wait(reader))]
        self._gateway.downlink.elsewhere = self.pass_on

    def pass_on(self, delivery: Delivery) -> None:
        """Pass a message on."""
        members = None if delivery.members is None else list(delivery.members)
        self._writer.write(encode([delivery.channel, delivery.message, delivery.headers, members]))

    def close(self) -> None:
        """Pass on no more."""
        self._gateway.downlink.elsewhere = None
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    async def _give_signs(self) -> None:
        while True:
            if self._gateway.context.uplink.down is None:
                self._writer.write(encode(None))
            await asyncio.sleep(SIGN_SECONDS)

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        """Wait for the end of the old server."""
        with contextlib.suppress(OSError):
            await reader.read(1)
        logger.info("The server before this one has ended")
        self.close()


async def follow(gateway: Gateway, passage: socket.socket) -> None:
    """Take what the new server passes on, until cancelled; receive again once that server is gone."""
    passage.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=passage)
    loop = asyncio.get_running_loop()
    uplink, facts = gateway.context.uplink, gateway.context.facts
    try:
        while True:
            record = decode(await reader.readexactly(length_of(await reader.readexactly(HEAD))))
            facts.heard = loop.time()
            uplink.confirm(facts.heard)
            if record is not None:
                channel, message, headers, members = record
                await gateway.downlink.dispatch([Delivery(channel, message, headers, members)])
    except (asyncio.IncompleteReadError, OSError):
        logger.warning("the new server has ended; finishing what is left without it")
        gateway.go_on()
    finally:
        writer.close()
