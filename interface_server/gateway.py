"""What all connections of a process share: one uplink, one downlink, one reply name, one clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import Any, Protocol

from channel_layer.exceptions import ChannelFull, ChannelLayerError, LayerConfigurationError, LayerUnavailable, clause
from channel_layer.state import MARK

from .bridge.backlog import Backlog
from .bridge.downlink import Downlink
from .bridge.last_wills import Wills
from .bridge.messages import MessageFactory, Scope
from .bridge.states import States
from .bridge.unanswered import Unanswered
from .bridge.uplink import Entry, Uplink
from .http.download import ResponseWriter
from .http.exchange import HttpExchange
from .logs.access_log import AccessLog
from .options import Options
from .spool.file import SpoolFile
from .spool.threads import SpoolThreads
from .websocket.client_socket import Socket
from .websocket.connection import WebSocketConnection

logger = logging.getLogger("interface_server")

TICK_SECONDS = 0.5
_STALL_SECONDS = 5.0


class Ticking(Protocol):
    """Something with deadlines."""

    def tick(self, now: float) -> None:
        """Check them; ``now`` is the event loop's time."""


class Gateway:
    """Between the sockets of one process and a channel layer. Belongs to one event loop.

    Args:
        layer: any channel layer.
        options: limits and times.

    Attributes:
        name: the reply name of this process.
        now: the event loop's time, at most `TICK_SECONDS` old. Deadlines compare with it, so that
            a message costs no timer.
        connections: local part → HTTP exchange or WebSocket connection.
        wills: what workers are told if this process disappears.
        backlog: what may still wait on the channels.
        unanswered: messages that got no answer in time, to be told of in the log.
        read_ahead: bytes that were read from WebSockets and wait for their turn.
        spools: keep what waits for a slow disk, worker or client.
        tells_of_ends: whether consumers want to know of the end of every request; a worker has said so.
        states: of connections, for those who ask.
        tickers: further objects whose deadlines are checked.
        stopping: whether the process is about to end.
    """

    def __init__(self, layer: Any, options: Options) -> None:
        self.layer = layer
        self.options = options
        self.messages = MessageFactory(options)
        self.access_log = AccessLog.open(options.access_log)
        self.trace = options.verbosity >= 2
        self.name = f"daphne.{secrets.token_urlsafe(12)}!"
        self.now = 0.0
        self.stopping = False
        self.tells_of_ends = False
        self.connections: dict[str, HttpExchange | WebSocketConnection] = {}
        self.tickers: set[Ticking] = set()
        file = SpoolFile(options.spool_dir, options.spool_bytes, options.spool_memory)
        self.spools = SpoolThreads(file, lambda call: self._loop.call_soon_threadsafe(call))
        self.uplink = Uplink(layer, options.uplink_bytes)
        self.uplink.on_down = self._log_outage
        self.wills = Wills(layer, self.name, self.connections, self.uplink, not options.unordered)
        self.uplink.on_doubt = self.wills.resolve
        self.backlog = Backlog(layer)
        self.unanswered = Unanswered(layer)
        self.read_ahead = 0
        self.states = States(layer, self.uplink, options.state_max)
        self._downlink = Downlink(layer, self.name, self.connections, self.uplink, self.forget, self.states)
        self._gone: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return bool(self._tasks)

    def clock(self) -> float:
        """The exact time, for measuring."""
        return time.monotonic()

    def start(self) -> None:
        """Begin to carry messages; must be called in the event loop."""
        loop = self._loop = asyncio.get_running_loop()
        self.now = loop.time()
        try:
            self.spools.file.open()  # now, while there are descriptors
        except OSError as error:
            logger.error("large bodies cannot be kept in %s: %s", error.filename, error.strerror)
        self.wills.watch()
        for work in (self.uplink.run, self._downlink.run, self._clock, self._sweep):
            self._tasks.append(loop.create_task(work(), name=f"interface_server {work.__qualname__}"))

    def open_http(self, scope: Scope, writer: ResponseWriter) -> HttpExchange:
        """A new request; the caller feeds it and calls `HttpExchange.begin`."""
        return HttpExchange(self, secrets.token_urlsafe(12), self.messages.seen(scope), writer)

    def open_websocket(self, scope: Scope, socket: Socket) -> WebSocketConnection:
        """A new WebSocket whose handshake waits for a consumer; the caller calls `open`."""
        mark = "" if self.options.unordered else MARK
        return WebSocketConnection(self, mark + secrets.token_urlsafe(12), self.messages.seen(scope), socket)

    def why_late(self, entry: Entry, since: float, now: float) -> ChannelLayerError | None:
        """Why a message that was queued at ``since`` and is not stored has waited too long; ``None`` if it has not."""
        if entry.full_since and self.uplink.down is None:
            late = now - entry.full_since >= self.options.send_timeout
            return ChannelFull(entry.item.target) if late else None
        if now - since < self.options.outage_timeout:
            return None
        return self.uplink.down or LayerUnavailable(self.layer.describe(), "it takes no messages")

    def forget(self, channels: list[str]) -> None:
        """Have reply channels that are gone removed from every group, soon."""
        self._gone.update(channels)

    async def close(self, seconds: float | None = None) -> None:
        """Stop carrying messages and release the layer's async side, which may take so long."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        self.backlog.close()
        self.unanswered.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*tasks, return_exceptions=True)
                if self.uplink.down is None:
                    await self._clean_up()
                await self.layer.aclose()
        await asyncio.to_thread(self.spools.close)
        await asyncio.to_thread(self.access_log.close)

    async def _clock(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            before, self.now = self.now, loop.time()
            if self.now - before > _STALL_SECONDS:
                continue  # the process stood still: let what arrived meanwhile be read before judging anybody
            for ticking in [*self.connections.values(), *self.tickers, self.spools, self.states]:
                try:
                    ticking.tick(self.now)
                except Exception:
                    logger.exception("checking the deadlines of %r failed", ticking)
            self.backlog.ask()
            self.unanswered.ask()

    async def _sweep(self) -> None:
        """Apart from the clock, which must not wait for a layer that is slow."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._gone and self.uplink.down is None:
                await self._clean_up()

    async def _clean_up(self) -> None:
        gone, self._gone = self._gone, set()
        if not gone:
            return
        try:
            await self.layer.aforget(gone)
        except LayerUnavailable:
            logger.warning("%d closed connections could not be removed from their groups; they expire there", len(gone))
        except Exception:
            logger.exception("removing %d closed connections from their groups failed; they expire there", len(gone))

    def _log_outage(self, error: LayerUnavailable) -> None:
        level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
        logger.log(level, "%s; trying again until it answers", clause(error))
