"""Lifecycle of the parts that carry messages between the sockets of a process and a channel layer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from channel_layer.layer import ChannelLayer

from .bridge.context import Context
from .bridge.downlink import Downlink
from .monitor import Monitor
from .options import Options
from .reporting import Reporter
from .spool.file import SpoolFile
from .spool.threads import SpoolThreads

logger = logging.getLogger("interface_server")

TICK_SECONDS = 0.5
HALT_CHECK_SECONDS = 0.005
FLUSH_SECONDS = 0.5
"""Time for the layer to take what waits, before the rest is left where it is."""
_STALL_SECONDS = 5.0


class Gateway:
    """Starts what connections share, keeps its clock, and closes it. Belongs to one event loop.

    Args:
        layer: any channel layer.
        options: limits and times.
        name: see `Context`.

    Attributes:
        context: for the connections.
        reporter: says what the process has counted.
        monitor: answers questions about health and metrics.
        downlink: what receives.
    """

    def __init__(self, layer: ChannelLayer, options: Options, name: str = "") -> None:
        file = SpoolFile(options.spool_dir, options.spool_bytes, options.spool_memory)
        self.context = Context(layer, options, SpoolThreads(file, self._post), name)
        self.reporter = Reporter(self.context)
        self.monitor = Monitor(self.context, self.reporter)
        if options.health_path or options.ready_path or options.metrics_path:
            self.context.own_exchange = self.monitor.own_exchange
        self.downlink = Downlink(self.context)
        self._tasks: list[asyncio.Task[None]] = []
        self._reading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def started(self) -> bool:
        """True once `start` was called."""
        return bool(self._tasks)

    def start(self, reading: bool = True) -> None:
        """Begin to carry messages; must be called in the event loop.

        Args:
            reading: whether those for this process are received at once, and not only after `go_on`.
        """
        context = self.context
        loop = self._loop = asyncio.get_running_loop()
        context.now = loop.time()
        context.facts.tick(0)
        try:
            context.spools.file.open()  # now, while there are descriptors
        except OSError as error:
            logger.error("large bodies cannot be kept in %s: %s", error.filename, error.strerror)
        context.last_wills.watch()
        for work in (
            context.uplink.run,
            self._clock,
            context.departures.run,
            context.questions.run,
            self.reporter.run,
        ):
            self._tasks.append(loop.create_task(work(), name=f"interface_server {work.__qualname__}"))
        if reading:
            self._read()

    async def halt(self, seconds: float) -> bool:
        """Receive nothing more and write nothing more, until `go_on`; false if that takes too long.

        What was received has been dealt with, and what the layer has not taken is in the uplink.
        """
        uplink, reading = self.context.uplink, self._reading
        deadline = self._loop.time() + seconds
        if reading is not None:
            self.downlink.halting = True
            self.downlink.wake()
            await asyncio.wait({reading}, timeout=seconds)
            self.downlink.halting = False
            if not reading.done():
                return False
            self._tasks.remove(reading)
            self._reading = None
        await self._until(lambda: uplink.is_idle, FLUSH_SECONDS)
        uplink.halt()
        return await self._until(lambda: not uplink.is_writing, deadline - self._loop.time())

    def go_on(self, reading: bool = True) -> None:
        """Write again, and receive again."""
        self.context.uplink.confirm(self._loop.time())
        if reading and self._reading is None:
            self._read()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = self._loop.time() + seconds
        while not condition():
            if self._loop.time() >= deadline:
                return False
            await asyncio.sleep(HALT_CHECK_SECONDS)
        return True

    def _read(self) -> None:
        self._reading = self._loop.create_task(self.downlink.run(), name="interface_server Downlink.run")
        self._tasks.append(self._reading)

    async def close(self, seconds: float | None = None) -> None:
        """Stop carrying messages and release the layer's async side, which may take so long."""
        context = self.context
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        context.backlog.close()
        context.unanswered.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*tasks, return_exceptions=True)
                await context.departures.sweep()
                await self.reporter.end()
                await context.layer.aclose()
        for blocking in (context.spools.close, context.access_log.close):
            try:
                await asyncio.to_thread(blocking)
            except RuntimeError:  # an interpreter that ends starts no thread, and nothing else waits for this one
                blocking()

    async def _clock(self) -> None:
        context = self.context
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            before, context.now = context.now, loop.time()
            context.facts.tick(context.now - before - TICK_SECONDS)
            if context.now - before > _STALL_SECONDS:
                continue  # the process stood still: let what arrived meanwhile be read before judging anybody
            for ticking in [
                *context.connections.values(),
                *context.tickers,
                context.spools,
                context.states,
                context.hosts,
            ]:
                try:
                    ticking.tick(context.now)
                except Exception:
                    logger.exception("checking the deadlines of %r failed", ticking)
            context.facts.look_at_outboxes()
            context.backlog.ask()
            context.unanswered.ask()

    def _post(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)
