"""The end of a transport whose socket stays open, for another process or another transport."""

from __future__ import annotations

import asyncio
import os
import socket


class Parting(asyncio.Protocol):
    """Takes the open socket of a transport, and with it the bytes that the transport has not sent.

    Args:
        transport: it ends without a word to its protocol.
        kept: the last bytes that were written to it, at least those that it has not sent.

    Attributes:
        socket: the same socket, with a descriptor of its own.

    Raises:
        OSError: there is no descriptor left; nothing was done.
    """

    def __init__(self, transport: asyncio.Transport, kept: bytes) -> None:
        self.socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._transport = transport
        self._kept = kept
        self._gone = asyncio.get_running_loop().create_future()
        self._waiting = transport.get_write_buffer_size()
        transport.set_protocol(self)
        transport.abort()
        # uvloop may go on writing until it has closed; asyncio drops at once what it has not written.
        self._is_final = not transport.get_write_buffer_size()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has ended, and its socket is closed in this same turn of the loop."""
        if not self._is_final:
            self._waiting = self._transport.get_write_buffer_size()
        self._gone.set_result(None)

    async def unsent(self) -> bytes:
        """The bytes that the transport has not sent."""
        await self._gone
        return self._kept[-self._waiting :] if self._waiting else b""
