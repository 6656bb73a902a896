"""The old server's side of a takeover: it hands over all that it can, or goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any, Final, Protocol

from ..gateway import Gateway
from . import passage as talk
from .estate import Estate, TakeoverError, check_terms, terms
from .moving import adopt, let_go, release, settle
from .relay import follow

logger = logging.getLogger("interface_server.takeover")

BOUNDARY_SECONDS: Final = 1.0
"""Time for clients to finish a message, and for consumers to answer a handshake."""

HALT_SECONDS: Final = 5.0
"""Time for the layer to answer what it is being asked."""


class Holder(Protocol):
    """The server, as far as a takeover knows it.

    Attributes:
        connections: every open connection.
        listeners: for each listening socket `key_of` its endpoint.
    """

    connections: Any
    listeners: list[tuple[list[Any], socket.socket]]

    @property
    def stopping(self) -> bool:
        """True once it is about to end."""

    def pause(self) -> None:
        """Accept nothing."""

    def resume(self) -> None:
        """Accept again."""

    def handed_over(self) -> None:
        """End: another process has what was handed over."""


class Predecessor:
    """Listens for a server that wants to take over. Belongs to one event loop.

    Args:
        path: where.
        gateway: of this process.
        holder: the server.

    Raises:
        TakeoverError: it cannot listen there.
    """

    def __init__(self, path: str, gateway: Gateway, holder: Holder) -> None:
        self._path = path
        self._gateway = gateway
        self._holder = holder
        self._listener = talk.listen(path)
        self._listener.setblocking(False)
        self._own = os.stat(path).st_ino
        self._conversation: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._accepting = asyncio.get_running_loop().create_task(self._accept(), name="takeover")

    async def close(self) -> None:
        """Listen no more, and wait for the end of a conversation."""
        self._accepting.cancel()
        self._listener.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._own:
                os.unlink(self._path)
        if self._conversation is not None:
            await asyncio.wait({self._conversation})

    def end(self) -> None:
        """Let go of the new server."""
        if self._following is not None:
            self._following.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            passage, _ = await loop.sock_accept(self._listener)
            passage.setblocking(True)
            passage.settimeout(talk.SECONDS)
            # One at a time: the next one finds another server here, or this one as it was.
            self._conversation = loop.create_task(self._talk(passage))
            await asyncio.wait({self._conversation})

    async def _talk(self, passage: socket.socket) -> None:
        try:
            talk.check_peer(passage)
            theirs = await asyncio.to_thread(talk.receive, passage)
            if self._holder.stopping:
                raise TakeoverError("the old server is stopping already; start the new one once it has ended")
            context = self._gateway.context
            check_terms(theirs, terms(context.layer, context.options))
            if context.uplink.down is not None:
                raise TakeoverError(
                    f"the old server cannot hand over while its channel layer is away: {context.uplink.down}"
                )
            await self._hand_over(passage)
        except (EOFError, OSError):
            passage.close()
        except TakeoverError as error:
            logger.warning("not handing over: %s", error)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(talk.send, passage, {"refused": str(error)})
            passage.close()
        except Exception:
            logger.exception("handing over failed")
            passage.close()

    async def _hand_over(self, passage: socket.socket) -> None:
        """Hand over, or undo all that was done for it."""
        holder, gateway = self._holder, self._gateway
        context = gateway.context
        logger.info("Handing over to another server")
        holder.pause()
        try:
            await settle(holder.connections, BOUNDARY_SECONDS)
            if not await gateway.halt(HALT_SECONDS):
                raise TakeoverError("the old server cannot hand over: its channel layer does not answer in time")
            states, sockets = await release(context, holder.connections)
            try:
                await asyncio.to_thread(
                    send_all, passage, estate_of(gateway, holder, states), self._listening(), sockets
                )
            except BaseException:
                await adopt(context, holder.connections, states, sockets)
                raise
        except BaseException as error:
            gateway.go_on()
            let_go(holder.connections)
            holder.resume()
            logger.warning("the other server has not taken over; going on")
            if isinstance(error, (EOFError, OSError)):
                raise TakeoverError("the new server has ended, or does not answer") from None
            raise
        for each in sockets:
            each.close()
        gateway.reporter.is_succeeded = True
        gateway.go_on(reading=False)
        let_go(holder.connections)
        self._following = asyncio.get_running_loop().create_task(follow(gateway, passage))
        logger.info("Handed over %d WebSockets", len(states))
        holder.handed_over()

    def _listening(self) -> list[socket.socket]:
        return [listener for _, listener in self._holder.listeners]


def estate_of(gateway: Gateway, holder: Holder, states: list[dict[str, Any]]) -> Estate:
    """All that a server leaves, besides the sockets themselves."""
    context = gateway.context
    index = getattr(context.layer, "index", None)
    return Estate(
        terms(context.layer, context.options),
        context.name,
        [[key, os.fstat(listener.fileno()).st_ino] for key, listener in holder.listeners],
        states,
        [] if index is None else list(index.memberships(context.name)),
        context.states.kept(),
    )


def send_all(
    passage: socket.socket, estate: Estate, listeners: list[socket.socket], sockets: list[socket.socket]
) -> None:
    """Hand everything to the new server; blocks. When this returns, that has it all, and this process nothing.

    Raises:
        EOFError, OSError, TakeoverError: this process goes on.
    """
    file = memory_file(estate.pack())
    try:
        descriptors = [file, *(each.fileno() for each in (*listeners, *sockets))]
        talk.send(passage, {"descriptors": len(descriptors)})
        talk.send_descriptors(passage, descriptors)
    finally:
        os.close(file)
    answer = talk.receive(passage)
    if not answer.get("ready"):
        raise TakeoverError(f"the new server refused: {answer.get('refused')}")
    talk.send(passage, {"yours": True})


def memory_file(content: bytes) -> int:
    """The descriptor of a file without a name that holds this."""
    descriptor = os.memfd_create("millrace-takeover", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor
