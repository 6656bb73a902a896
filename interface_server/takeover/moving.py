"""WebSockets out of a process, and into one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from ..bridge.broadcast import Part
from ..bridge.context import Context
from ..bridge.replies import Denial, Payload
from ..bridge.uplink import SendListener
from ..logs.server_log import printable
from ..websocket.connection import WebSocketConnection
from ..websocket.protocol import WebSocketProtocol
from ..wire.websocket_frames import ABNORMAL

logger = logging.getLogger("interface_server.takeover")

AT_A_TIME: Final = 50
"""Sockets that have two descriptors for a moment, or are opened at the same time."""

CHECK_SECONDS: Final = 0.01


async def settle(connections: Collection[Any], seconds: float) -> None:
    """Read no more from WebSockets, each from between two messages on; give up on the rest after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        sockets = [protocol for protocol in list(connections) if protocol.is_websocket]
        waiting = sum(protocol.is_handshake or (protocol.may_move and not protocol.hold()) for protocol in sockets)
        if not waiting or loop.time() >= deadline:
            return
        await asyncio.sleep(CHECK_SECONDS)


async def release(context: Context, connections: Collection[Any]) -> tuple[list[dict[str, Any]], list[socket.socket]]:
    """Take the WebSockets that can move out of this process, while its gateway is halted: their states and sockets."""
    movers = [each for each in list(connections) if each.is_websocket and each.may_move and each.hold()]
    states: list[dict[str, Any]] = []
    sockets: list[socket.socket] = []
    with _uncollected():
        for start in range(0, len(movers), AT_A_TIME):
            partings = []
            for protocol in movers[start : start + AT_A_TIME]:
                if protocol.may_move:
                    try:
                        partings.append(_give_away(context, protocol))
                    except OSError as error:
                        logger.warning("a WebSocket cannot be handed over: %s", error.strerror)
            for state, parting in partings:
                state["unsent"] = await parting.unsent()
                state["inode"] = os.fstat(parting.socket.fileno()).st_ino
                states.append(state)
                sockets.append(parting.socket)
    return states, sockets


def let_go(connections: Collection[Any]) -> None:
    """Read again from what was not released."""
    for protocol in list(connections):
        if protocol.is_websocket:
            protocol.let_go()


async def adopt(
    context: Context, connections: set[Any], states: Sequence[dict[str, Any]], sockets: Sequence[socket.socket]
) -> None:
    """Go on with WebSockets that were released. Consumers hear of the end of those whose sockets are not there."""
    by_inode = {os.fstat(each.fileno()).st_ino: each for each in sockets}
    with _uncollected():
        for start in range(0, len(states), AT_A_TIME):
            batch = [(each, by_inode.pop(each["inode"], None)) for each in states[start : start + AT_A_TIME]]
            await asyncio.gather(*(_adopt(context, connections, state, opened) for state, opened in batch))
    for left in by_inode.values():
        left.close()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Let the garbage collector rest while much is made and little thrown away: it takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _give_away(context: Context, protocol: WebSocketProtocol) -> tuple[dict[str, Any], Any]:
    connection = protocol.connection

    def is_concerned(sender: SendListener) -> bool:
        return sender is connection or isinstance(sender, Part)

    taken = context.uplink.take_back(is_concerned)
    for sender in taken:
        if isinstance(sender, Part):
            sender.taken_back()
    own = taken.get(connection, [])
    try:
        return protocol.give_away(own)
    except OSError:
        for entry in own:
            entry.cancelled = False
        raise


async def _adopt(context: Context, connections: set[Any], state: dict[str, Any], opened: socket.socket | None) -> None:
    path = state["connection"]["path"]
    if opened is None:
        logger.info("the WebSocket %s was closed while it was handed over", printable(path))
    else:
        try:
            await WebSocketProtocol.resume_from(context, connections, state, opened)
            return
        except Exception:
            logger.exception("the WebSocket %s could not be taken over", printable(path))
            opened.close()
    WebSocketConnection.resume(context, state["connection"], _Gone()).lost(ABNORMAL)


class _Gone:
    """The client's side of a connection whose client has left; see `Socket`."""

    outbox_bytes = 0
    direct: asyncio.WriteTransport | None = None

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None: ...

    def reject(self, status: int, denial: Denial | None = None) -> None: ...

    def send(self, payload: Payload) -> bool:
        return True

    def queued(self, frame: bytes, waiting: int) -> bool:
        return True

    def close(self, code: int, reason: str = "") -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...
