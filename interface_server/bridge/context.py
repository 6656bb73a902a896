"""The parts that all connections of a process share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol

from channel_layer.delivery import Outgoing
from channel_layer.layer import ChannelLayer

from ..facts import Facts
from ..logs.access_log import AccessLog
from ..options import Options
from ..spool.threads import SpoolThreads
from .backlog import Backlog
from .connection import Connection
from .departures import Departures
from .hosts import Hosts
from .last_wills import LastWills
from .messages import MessageFactory, Scope
from .questions import Questions
from .states import States
from .unanswered import Unanswered
from .uplink import Uplink


class Ticking(Protocol):
    """An object with deadlines."""

    def tick(self, now: float) -> None:
        """Check them; ``now`` is the event loop's time."""


class Context:
    """Handed to each connection. Belongs to one event loop; a `Gateway` keeps its clock.

    Args:
        layer: any channel layer.
        options: limits and times.
        spools: keep what waits for a slow disk, worker or client.
        name: the reply name of a process that this one takes the place of; else it gets one of its own.

    Attributes:
        name: the reply name of this process.
        now: the event loop's time, at most half a second old. Deadlines compare with it, so that a message costs no
            timer.
        connections: local part of a reply channel → connection.
        tickers: further objects whose deadlines are checked.
        messages: builds what is sent to consumers.
        access_log: a line for each request and each event of a WebSocket.
        facts: what is counted.
        trace: whether each message is logged.
        uplink: takes what is sent to consumers.
        last_wills: what consumers are told if this process disappears.
        backlog: what may still wait on the channels.
        unanswered: messages that got no answer in time.
        states: what connections keep for their consumers.
        departures: connections to be removed from their groups.
        hosts: workers in which the applications of connections live.
        questions: answers operators.
        read_ahead: bytes that were read from WebSockets and wait for their turn.
        tells_of_ends: whether consumers want to know of the end of every request; a worker has said so.
        draining: whether it is to get nothing new, because it is about to end.
        stopping: whether connections are being closed, because it is about to end.
        own_exchange: makes the exchange of a request that the server answers itself; ``None`` where there is none.
    """

    def __init__(self, layer: ChannelLayer, options: Options, spools: SpoolThreads, name: str = "") -> None:
        self.layer = layer
        self.options = options
        self.spools = spools
        self.name = name or f"daphne.{secrets.token_urlsafe(12)}!"
        self.now = 0.0
        self.connections: dict[str, Connection] = {}
        self.tickers: set[Ticking] = set()
        self.messages = MessageFactory(options)
        self.access_log = AccessLog.open(options.access_log)
        self.trace = options.verbosity >= 2
        self.facts = Facts()
        self.uplink = Uplink(layer, options, self._resolve, self.facts)
        self.last_wills = LastWills(layer, self.name, self.connections, self.uplink, not options.unordered)
        self.backlog = Backlog(layer)
        self.unanswered = Unanswered(layer)
        self.states = States(layer, self.uplink, options.state_max)
        self.departures = Departures(layer, self.uplink)
        self.hosts = Hosts(self.name, self.uplink, self.connections)
        self.questions = Questions(
            layer, self.name, self.connections, self.uplink, options.uplink_bytes, lambda: self.now
        )
        self.read_ahead = 0
        self.tells_of_ends = False
        self.draining = False
        self.stopping = False
        self.own_exchange: Callable[[Scope, Any], Any] | None = None

    def _resolve(self, item: Outgoing) -> None:
        self.last_wills.resolve(item)
