"""Workers that host applications of this process's connections, and their heartbeats.

A worker sends a heartbeat every two seconds to each interface server that it has leases of. One that sends none any
more is gone, and its connections go on in other workers. If it was only held up, it asks before it begins anything
again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol

from channel_layer.codec import pack_body
from channel_layer.delivery import SHARED, Headers, Message, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.names import split

from .connection import Connection
from .uplink import Uplink

logger = logging.getLogger("interface_server.websocket")

GONE = pack_body({"gone": True})
"""The message that ends an instance in a worker, because others have its connection."""

SILENT_SECONDS = 8.0
"""The silence after which a worker is gone."""

GUESTS_AT_A_TIME = 1_000
"""Connections in one message to a worker."""

TRUST_SECONDS = 6.0
"""The time after its last heartbeat from which on a worker that is only held up begins nothing before it has asked:
after five seconds by its own clock, to which are added those by which the time here may be behind."""

JUMP_SECONDS = 2.0
"""A tick that comes so late says nothing about workers: this process was held up itself."""


class Guest(Protocol):
    """A connection whose application a worker hosts."""

    @property
    def tenancy(self) -> tuple[str, int]:
        """The local part of its reply channel, and the number of times that its application has changed hands."""

    @property
    def waits(self) -> bool:
        """True if events for its application are not done with."""

    def lease_lost(self, begun_until: float = inf) -> None:
        """The worker is gone, and was told that others have its instances.

        Args:
            begun_until: what was sent to it later, it has certainly not begun.
        """


class Hosts:
    """Know which worker hosts which connections, and notice when one is gone. Belongs to one event loop.

    Args:
        name: of this process.
        uplink: takes answers to workers that ask.
        connections: local part of a reply channel → connection.
    """

    def __init__(self, name: str, uplink: Uplink, connections: Mapping[str, Connection]) -> None:
        self._name = name
        self._uplink = uplink
        self._connections = connections
        self._guests: dict[str, dict[Guest, None]] = {}
        self._heard: dict[str, float] = {}
        self._dismissals: dict[str, int] = {}
        self._answers: dict[str, Outgoing] = {}
        self._untold: list[Outgoing] = []
        self._now = 0.0

    def enter(self, worker: str, guest: Guest, now: float) -> None:
        """A worker hosts a connection from now on; ``worker`` is any channel of its process."""
        host = split(worker)[0]
        self._guests.setdefault(host, {})[guest] = None
        self._heard[host] = max(now, self._heard.get(host, now))  # it trusts its first lease as it does a heartbeat

    def leave(self, worker: str, guest: Guest) -> None:
        """It does so no more."""
        host = split(worker)[0]
        guests = self._guests.get(host, {})
        guests.pop(guest, None)
        if not guests:
            self._guests.pop(host, None)
            self._heard.pop(host, None)

    def leases(self) -> dict[str, int]:
        """The number of connections that each worker hosts, by the name of its process."""
        return {host.rstrip("!"): len(guests) for host, guests in list(self._guests.items())}

    def hear(self, headers: Headers, message: Message, now: float) -> None:
        """A heartbeat; a worker that asks is answered, behind what it was told of single connections.

        Args:
            message: may name connections whose instances hear nothing, to find out whether the worker still has them.
        """
        worker = headers.get("lease")
        if worker is not None and (host := split(worker)[0]) in self._heard:
            self._heard[host] = now
        if "flow" in headers:
            answer: Message = {"server": self._name, "asked": headers.get("turn", 0)}
            if leases := message.get("leases"):
                answer["closed"] = [local for local in leases if local not in self._connections]
                answer["gone"] = {
                    local: epoch
                    for local, epoch in leases.items()
                    if (connection := self._connections.get(local)) is not None and connection.has_moved_on(epoch)
                }
            item = Outgoing(headers["flow"], pack_body(answer))
            if self._dismissals.get(host := split(item.target)[0]):
                self._answers[host] = item
            else:
                self._uplink.put(item)

    def dismiss(self, instance: str) -> None:
        """Tell an instance of a worker that others have its connection by now; nothing else is answered before."""
        host = split(instance)[0]
        self._dismissals[host] = self._dismissals.get(host, 0) + 1
        self._tell(Outgoing(instance, GONE))

    def _dismiss_all(self, host: str, guests: Sequence[Guest]) -> None:
        """Tell a worker that others have all of its connections by now, in few messages. See `dismiss`."""
        for start in range(0, len(guests), GUESTS_AT_A_TIME):
            gone = dict(guest.tenancy for guest in guests[start : start + GUESTS_AT_A_TIME])
            self._dismissals[host] = self._dismissals.get(host, 0) + 1
            self._tell(Outgoing(host + SHARED, pack_body({"server": self._name, "gone": gone})))

    def _tell(self, item: Outgoing) -> None:
        if self._uplink.put(item, self, patient=True, report=True, kept=True) is None:
            self._untold.append(item)

    def sent(self, item: Outgoing) -> None:
        """A dismissal was stored."""
        host = split(item.target)[0]
        self._dismissals[host] -= 1
        if not self._dismissals[host]:
            del self._dismissals[host]
            if (answer := self._answers.pop(host, None)) is not None:
                self._uplink.put(answer)

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """Nobody knows whether a dismissal was stored; it may come twice."""
        self._tell(item)

    def tick(self, now: float) -> None:
        """Notice workers that are gone."""
        before, self._now = self._now, now
        untold, self._untold = self._untold, []
        for item in untold:
            self._tell(item)
        if now - before > JUMP_SECONDS or self._uplink.down is not None:
            # Nobody could be heard meanwhile.
            self._heard = dict.fromkeys(self._heard, now)
            return
        for host in [host for host, heard in self._heard.items() if now - heard > SILENT_SECONDS]:
            guests = list(self._guests.get(host, ()))
            begun_until = self._heard[host] + TRUST_SECONDS
            logger.warning(
                "a worker is gone, with the applications of %d WebSockets; they go on elsewhere", len(guests)
            )
            self._dismiss_all(host, guests)  # read before anything else by one that was only held up
            for guest in sorted(guests, key=lambda guest: not guest.waits):
                guest.lease_lost(begun_until)
