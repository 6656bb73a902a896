"""The end of an interface server: named steps that tell what they wait for, together within a limit."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection
from typing import Any, Final

from .bridge.connection import Connection, Kind
from .bridge.context import Context

logger = logging.getLogger("interface_server.server")

STREAMS_SHARE: Final = 1 / 4
"""Of the time to stop, what responses of unknown length may use: an endless one would use any."""

TURNS_SHARE: Final = 1 / 2
"""The share that consumers at work for a WebSocket may use. The messages behind theirs are sent after it."""

ANSWERS_SHARE: Final = 5 / 6
"""The share that all responses may use. The rest is for messages that still go to the channel layer."""

DESERTED_SHARE: Final = 1 / 10
DESERTED_SECONDS = 3.0
"""Times without a worker that takes a message off a channel; after the shorter one, its messages are not waited for."""

RECONNECT_MS = (0, 1_000)
"""The range of pauses, in milliseconds, that clients of drained WebSockets are asked to make."""

CHECK_SECONDS = 0.02
LOOK_SECONDS = 0.25


class Stopping:
    """Ends the connections of a process and sends what is still to be sent.

    Args:
        context: whose connections end.
        seconds: the limit.
        sockets: connections of a server that has the context to itself; they are closed, and cut at the end.
        hurried: tells whether to wait for nothing any more.
        drain: seconds before that, over which the closing of WebSockets is spread. Only with ``sockets``.

    Attributes:
        began: when the limit began to count, by the loop's time.
    """

    def __init__(
        self,
        context: Context,
        seconds: float,
        sockets: Collection[Any] = (),
        hurried: Callable[[], bool] = lambda: False,
        drain: float = 0.0,
    ) -> None:
        self._drain_seconds = drain
        self._context = context
        self._seconds = seconds
        self._sockets = sockets
        self._hurried = hurried
        self.began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Take the steps."""
        self._context.stopping = True
        if self._drain_seconds and self._sockets:
            await self._drain()
        self.began = asyncio.get_running_loop().time()
        for protocol in list(self._sockets):
            protocol.shutdown()
        for connection in list(self._context.connections.values()):
            connection.stop()
        await self._until_answered()
        await self._until_sent()

    async def _drain(self) -> None:
        """Close WebSockets one after the other, in any order, while the others stay as they are."""
        for protocol in list(self._sockets):
            if not protocol.is_websocket:
                protocol.shutdown()
        is_open: list[Connection] = []
        waiting: list[Connection] = []
        for connection in self._of(Kind.WEBSOCKET):
            owner = connection.last_will
            (waiting if owner is None or owner.is_handshake else is_open).append(connection)
        for connection in waiting:
            connection.stop()
        random.shuffle(is_open)
        total, seconds = len(is_open), self._drain_seconds
        logger.info("Stopping: closing %d WebSockets one after the other, over %.3g s", total, seconds)
        self.began = asyncio.get_running_loop().time()
        while is_open and not self._hurried():
            due = total * min(1.0, self._elapsed() / seconds)
            while is_open and total - len(is_open) < due:
                is_open.pop().stop(random.randint(*RECONNECT_MS))
            await asyncio.sleep(CHECK_SECONDS)

    async def _until_answered(self) -> None:
        """Wait for consumers and clients that are at it, and for nobody else."""
        await asyncio.sleep(0)
        requests, websockets = len(self._of(Kind.REQUEST)), len(self._of(Kind.WEBSOCKET))
        if requests or websockets:
            logger.info(
                "Stopping: waiting up to %.3g s for %d requests, up to %.3g s for the consumers of %d WebSockets",
                self._seconds * ANSWERS_SHARE, requests, self._seconds * TURNS_SHARE, websockets,
            )  # fmt: skip
        await self._until(self._is_answered, ANSWERS_SHARE, self._look)
        left = list(self._sockets)
        if left:
            logger.warning("Stopping: cutting %d connections that are not done", len(left))
        for protocol in left:
            protocol.abort()
        self._release(self._of(Kind.WEBSOCKET))
        await asyncio.sleep(0)  # what was cut is heard of now

    async def _until_sent(self) -> None:
        uplink = self._context.uplink
        if not uplink.is_idle:
            left = self._seconds - self._elapsed()
            logger.info("Stopping: waiting up to %.3g s for the channel layer to take what is left", max(0.0, left))
        await self._until(lambda: uplink.is_idle, 1)
        if not uplink.is_idle:
            logger.error("stopping with messages that could not be sent; their channels are full or the layer is away")

    def _look(self) -> None:
        """Give up what nobody works on, and what has used up its share of the time."""
        self._context.backlog.ask()
        patience = min(DESERTED_SECONDS, self._seconds * DESERTED_SHARE)
        websockets = [connection for connection in self._of(Kind.WEBSOCKET) if connection.is_deserted(patience)]
        requests = [exchange for exchange in self._of(Kind.REQUEST) if exchange.is_deserted(patience)]
        if websockets or requests:
            logger.info(
                "Stopping: no worker takes messages; not waiting for %d requests and %d WebSockets",
                len(requests), len(websockets),
            )  # fmt: skip
        self._release([*websockets, *requests])
        if self._elapsed() >= self._seconds * STREAMS_SHARE:
            endless = [exchange for exchange in self._of(Kind.REQUEST) if exchange.end_stream()]
            if endless:
                logger.info("Stopping: cut %d responses of unknown length that were still produced", len(endless))
        if self._elapsed() >= self._seconds * TURNS_SHARE and (late := self._of(Kind.WEBSOCKET)):
            logger.warning("Stopping: the consumers of %d WebSockets have not finished; not waiting longer", len(late))
            self._release(late)

    def _is_answered(self) -> bool:
        return not self._sockets and not self._context.connections

    async def _until(
        self, condition: Callable[[], bool], share: float, look: Callable[[], None] = lambda: None
    ) -> None:
        """Wait for a condition, until a share of the time is over; now and then have a look at what is left."""
        looked = -LOOK_SECONDS
        while not condition() and self._elapsed() < self._seconds * share and not self._hurried():
            if self._elapsed() - looked >= LOOK_SECONDS:
                looked = self._elapsed()
                look()
            await asyncio.sleep(CHECK_SECONDS)

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    def _of(self, kind: Kind) -> list[Connection]:
        return [item for item in self._context.connections.values() if item.kind is kind]

    def _release(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.release()
