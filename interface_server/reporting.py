"""Reports of an interface server: made from what its parts have counted, and published through the layer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from channel_layer.facts import REPORT_SECONDS, Identity, State, listening, lost_by_layer
from channel_layer.messages import CONNECT, HTTP_REQUEST
from channel_layer.questions import FORMAT
from channel_layer.reports import REPORTS

from .bridge.context import Context

logger = logging.getLogger("interface_server")

OF_NEW_CONNECTIONS = (HTTP_REQUEST, CONNECT)
"""Channels of which a worker has to listen on one."""


class Reporter:
    """Publishes a report every two seconds, and one more at the end. Belongs to one event loop.

    A layer without the extension gets none; `content` makes them all the same.

    Args:
        context: what is reported on.

    Attributes:
        name: of the process.
        reached: whether the layer has taken a report.
        workers_listen: whether a worker takes messages of new connections; looked for only if that is asked for.
        is_succeeded: set it once another process has the name, and reports.
    """

    def __init__(self, context: Context) -> None:
        self.name = context.name.rstrip("!")
        self._context = context
        self._identity = Identity("web")
        self._publishes = REPORTS in getattr(context.layer, "extensions", ())
        self.reached = False
        self.workers_listen = False
        self.is_succeeded = False

    async def run(self) -> None:
        """Publish until cancelled."""
        while self._publishes:
            await self._publish("draining" if self._context.draining else "running")
            if self._context.options.ready_needs_worker:
                await self._look_for_workers()
            await asyncio.sleep(REPORT_SECONDS)

    async def end(self) -> None:
        """Publish that the process has ended."""
        if self._publishes:
            await self._publish("ended")

    async def _look_for_workers(self) -> None:
        try:
            channels = listening(await self._context.layer.areports())
        except Exception as error:
            logger.debug("nothing is known of workers: %s", error)
            return
        self.workers_listen = not channels.isdisjoint(OF_NEW_CONNECTIONS)

    async def _publish(self, state: State) -> None:
        if self.is_succeeded:
            return
        try:
            await self._context.layer.apublish_report(self.name, self.content(state))
            self.reached = True
        except Exception as error:  # who has messages for the layer says aloud that it is away
            logger.debug("no report was kept: %s", error)

    def content(self, state: State) -> dict[str, Any]:
        """Make a report of the process as it is now. May be called in any thread."""
        context, facts = self._context, self._context.facts
        lost = dict(facts.lost)
        with contextlib.suppress(AttributeError):  # a layer that is not of this project need not count
            lost.update(lost_by_layer(context.layer.counters))
        sockets = {pattern: number for pattern, number in dict(facts.sockets).items() if number}
        return {
            **self._identity.content(state),
            "questions": FORMAT,
            "sockets": sockets,
            "handshakes": dict(facts.handshakes),
            "handshaking": facts.handshaking,
            "closes": dict(facts.closes),
            "requests": dict(facts.requests),
            "requesting": facts.requesting,
            "refused": dict(facts.refused),
            "request_seconds": facts.request_seconds.content(),
            "turn_seconds": facts.turn_seconds.content(),
            "frames": facts.frames,
            "deliveries": facts.deliveries,
            "outbox_bytes": facts.outbox_bytes,
            "read_ahead_bytes": context.read_ahead,
            "uplink_bytes": context.uplink.waiting_bytes,
            "stalled_seconds": facts.stalled_seconds,
            "leases": context.hosts.leases(),
            "last_wills": sum(sockets.values()) + facts.handshaking if context.last_wills.wanted else 0,
            "layer": {
                "up": context.uplink.down is None,
                "writes": facts.writes.content(),
                "failures": facts.failures,
                "lost": lost,
            },
        }
