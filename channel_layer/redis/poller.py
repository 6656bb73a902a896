"""Waiting on several servers at once."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

from ..exceptions import LayerConfigurationError, LayerUnavailable
from ..forks import forget_in_children
from .scripts import Call
from .sync_driver import SyncConnection, SyncDriver

logger = logging.getLogger(__name__)


class Refusals:
    """Says once that one of several servers refuses us; that one is down, its `Outage` says."""

    def __init__(self) -> None:
        self._refusing: set[str] = set()

    def note(self, server: str, error: Exception) -> None:
        """A server has failed, and the others go on."""
        if isinstance(error, LayerConfigurationError) and server not in self._refusing:
            self._refusing.add(server)
            logger.error("%s Going on with the other servers", error)

    def forget(self, server: str) -> None:
        """A server has answered."""
        self._refusing.discard(server)


class Poller:
    """Pops for one set of channels, one waiting on each server.

    A pop that was begun on a server stays begun until its answer is read, in this round or a later
    one: it cannot be taken back without losing a message. Used by one thread at a time.
    """

    def __init__(self, driver: SyncDriver) -> None:
        self._driver = driver
        self._connections: dict[int, SyncConnection] = {}
        self._refusals = Refusals()

    def start(
        self, shards: Collection[int], calls_for: Callable[[int], Sequence[Call]], homes: Collection[int]
    ) -> set[int]:
        """Begin a pop on every server that has none waiting, and return which those are.

        Servers that are down are left out.

        Raises:
            LayerUnavailable: none of ``homes`` can be reached.
        """
        failure: LayerUnavailable | None = None
        begun: set[int] = set()
        for shard in shards:
            if shard not in self._connections:
                try:
                    self._driver.hosts[shard].outage.check()
                    self._connections[shard] = self._driver.start(shard, calls_for(shard))
                    begun.add(shard)
                except LayerUnavailable as error:
                    failure = error
                    self._refusals.note(self._driver.hosts[shard].name, error)
        if failure is not None and self._connections.keys().isdisjoint(homes):
            raise failure
        return begun

    def wait(self, seconds: float) -> int | None:
        """A server to `finish`, after waiting for the first; ``None`` if there is none.

        It has answered, its connection is lost, or its answer is overdue.
        """
        poller = select.poll()
        by_descriptor: dict[int, int] = {}
        for shard, connection in self._connections.items():
            descriptor = connection.fileno()
            if descriptor < 0 or connection.is_overdue or connection.has_answer():
                return shard
            by_descriptor[descriptor] = shard
            poller.register(descriptor, select.POLLIN)
        answered = poller.poll(max(0.0, seconds) * 1000) if by_descriptor else []
        return by_descriptor[answered[0][0]] if answered else None

    def finish(self, shard: int) -> list[Any]:
        """Read a server's answers, waiting for them.

        Raises:
            LayerUnavailable: the connection was lost, and perhaps a message with it.
        """
        connection = self._connections.pop(shard)
        if connection.is_overdue and not connection.has_answer():
            self._driver.abandon(connection)
            connection.host.outage.begin("no answer to a blocking pop")
            raise LayerUnavailable(connection.host.name, "no answer to a blocking pop")
        replies = self._driver.finish(connection)
        self._refusals.forget(connection.host.name)
        return replies

    @property
    def waiting(self) -> list[int]:
        """Servers with a pop whose answer was not read."""
        return list(self._connections)


class Pollers:
    """The pollers of a layer, by their channels; a receive borrows one and gives it back."""

    def __init__(self, driver: SyncDriver) -> None:
        self._driver = driver
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Let go of all pollers: what they wait for is another process's."""
        self._lock = threading.Lock()
        self._free: dict[tuple[str, ...], list[Poller]] = {}

    def borrow(self, channels: tuple[str, ...]) -> Poller:
        """A poller that waits for the channels already, or a new one."""
        with self._lock:
            free = self._free.get(channels)
            return free.pop() if free else Poller(self._driver)

    def give_back(self, channels: tuple[str, ...], poller: Poller) -> None:
        """Keep a poller for the next receive on the same channels."""
        with self._lock:
            self._free.setdefault(channels, []).append(poller)

    def take(self, besides: tuple[str, ...]) -> list[tuple[tuple[str, ...], Poller]]:
        """Pollers that nobody uses now and that could take messages from others, no longer kept.

        Without ``besides`` these are all. Else they are those for other channels, some of these among
        them: a pop that still waits there would take a message which the caller is about to wait for.
        """
        if not self._free:
            return []
        with self._lock:
            taken = [
                channels
                for channels in self._free
                if not besides or (channels != besides and not set(besides).isdisjoint(channels))
            ]
            return [(channels, poller) for channels in taken for poller in self._free.pop(channels)]
