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
_STALL_SECONDS = 5.0


class Gateway:
    """Starts what connections share, keeps its clock, and closes it. Belongs to one event loop.

    Args:
        layer: any channel layer.
        options: limits and times.

    Attributes:
        context: for the connections.
        reporter: says what the process has counted.
        monitor: answers questions about health and metrics.
    """

    def __init__(self, layer: ChannelLayer, options: Options) -> None:
        file = SpoolFile(options.spool_dir, options.spool_bytes, options.spool_memory)
        self.context = Context(layer, options, SpoolThreads(file, self._post))
        self.reporter = Reporter(self.context)
        self.monitor = Monitor(self.context, self.reporter)
        if options.health_path or options.ready_path or options.metrics_path:
            self.context.own_exchange = self.monitor.own_exchange
        self._downlink = Downlink(self.context)
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop

    @property
    def started(self) -> bool:
        """True once `start` was called."""
        return bool(self._tasks)

    def start(self) -> None:
        """Begin to carry messages; must be called in the event loop."""
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
            self._downlink.run,
            self._clock,
            context.departures.run,
            context.questions.run,
            self.reporter.run,
        ):
            self._tasks.append(loop.create_task(work(), name=f"interface_server {work.__qualname__}"))

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
