"""A Redis Cluster: which node serves which slot."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import redis
from redis.crc import key_slot

from ..exceptions import LayerUnavailable, LayerUnusable, clause
from .errors import DRIVER_ERRORS, translate_opening
from .hosts import Host
from .moving_host import REMEMBER_SECONDS, Address, Kept, answers_to
from .redis_py import RedisPyConnection

SLOTS = 16_384

FRESH_SECONDS = 0.5
"""Time for which nobody is asked again."""


class Range(NamedTuple):
    """Slots of one node.

    Attributes:
        first, last: the slots.
        address: of the node that serves them.
        node: its identity.
        nodes: its identity and those of its replicas.
    """

    first: int
    last: int
    address: Address
    node: str
    nodes: frozenset[str]


def tags_for(count: int) -> list[str]:
    """So many hash tags with slots at equal distances, the same ones in every process."""
    tags = []
    for number in range(count):
        low, high = number * SLOTS // count, (number + 1) * SLOTS // count
        # Some hundred tries for the narrowest part that there may be.
        tags.append(next(tag for tag in _candidates(number) if low <= slot_of(tag) < high))
    return tags


def slot_of(tag: str) -> int:
    """The slot of the keys that have this hash tag."""
    return int(key_slot(tag.encode()))


def _candidates(number: int) -> Iterator[str]:
    attempt = 0
    while True:
        yield f"{number:03d}.{attempt}"
        attempt += 1


class Cluster:
    """The slots of a cluster, as its nodes tell. Thread-safe.

    Args:
        seeds: nodes to ask first; any of them will do.
        name: what complaints call it.
    """

    def __init__(self, seeds: Sequence[Host], name: str) -> None:
        self.name = name
        self._connect = seeds[0].connect_sync
        self._seeds = [(connection.host, connection.port) for connection in (host.connect_sync() for host in seeds)]
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked from another."""
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        """Held while somebody asks, which may take seconds; nobody else waits for it but who wants to ask, too."""
        self._ranges: list[Range] = []
        self._moved: dict[int, Address] = {}
        self._known: dict[Address, tuple[str, frozenset[str]]] = {}
        """Identity of each node that has served slots, and those of it and its replicas at the time."""
        self._asked = self._answered = float("-inf")
        self._first = 0

    def range_of(self, slot: int) -> Range | None:
        """The slots around one, as far as they are known."""
        moved = self._moved.get(slot)
        found = next((each for each in self._ranges if each.first <= slot <= each.last), None)
        if moved is None or (found is not None and found.address == moved):
            return found
        known = next((each for each in self._ranges if each.address == moved), None)
        return Range(slot, slot, moved, known.node if known else "", known.nodes if known else frozenset())

    def may_have_replaced(self, new: Address, old: Address) -> bool:
        """True if a node was a replica of another, or that is unknown."""
        if new not in self._known or old not in self._known:
            return True
        return self._known[new][0] in self._known[old][1]

    def moved(self, slot: int, address: Address) -> None:
        """A node says that another one serves a slot; it counts until somebody is asked."""
        with self._lock:
            self._moved[slot] = address
            self._asked = float("-inf")

    def turn(self) -> None:
        """Begin with another node the next time."""
        self._first += 1

    def learn(self, connections: Kept | None = None) -> None:
        """Ask one node after the other until one answers, unless somebody has just done so.

        Args:
            connections: kept from one call to the next, by address; without it each is closed.

        Raises:
            LayerUnavailable: none answers, and the last answer is too old.
            LayerUnusable: those that answer refuse us, or are in no cluster.
        """
        with self._asking:
            if time.monotonic() - self._asked < FRESH_SECONDS:
                return
            failures: list[LayerUnavailable] = []
            for address in self._addresses():
                try:
                    ranges = self._ask(address, connections)
                except DRIVER_ERRORS as error:
                    failures.append(self._failure(error, address))
                    continue
                if ranges:
                    with self._lock:
                        self._ranges, self._moved = ranges, {}
                        self._known |= {each.address: (each.node, each.nodes) for each in ranges}
                        self._asked = self._answered = time.monotonic()
                    return
                failures.append(LayerUnavailable(_text(address), "it knows of no slots yet", uncertain=False))
            self._asked = time.monotonic()
            for failure in failures:
                if isinstance(failure, LayerUnusable):
                    raise failure
            if time.monotonic() - self._answered > REMEMBER_SECONDS:
                reasons = "; ".join(f"{failure.where}: {clause(failure.reason)}" for failure in failures)
                raise LayerUnavailable(self.name, f"none of its nodes answers ({reasons})", uncertain=False)

    def _addresses(self) -> list[Address]:
        """Nodes to ask, each once: those that serve slots, in turn, and then the seeds."""
        known = sorted({each.address for each in self._ranges})
        if known:
            first = self._first % len(known)
            known = known[first:] + known[:first]
        return list(dict.fromkeys(known + self._seeds))

    def _ask(self, address: Address, connections: Kept | None) -> list[Range]:
        def connect() -> RedisPyConnection:
            connection = self._connect()
            connection.host, connection.port = address
            return connection

        [slots] = answers_to([("CLUSTER", "SLOTS")], connect, connections, address)
        if isinstance(slots, Exception):
            raise slots
        return _ranges(slots, address)

    def _failure(self, error: BaseException, address: Address) -> LayerUnavailable:
        where = _text(address)
        if "cluster support disabled" in str(error).lower():
            return LayerUnusable(
                where,
                f"Redis at {where} is not in cluster mode. Give 'hosts' nodes of a cluster, or use "
                "channel_layer.redis.RedisChannelLayer.",
                uncertain=False,
            )
        if isinstance(error, redis.exceptions.NoPermissionError):
            return LayerUnusable(
                where,
                f"Redis at {where} does not let our user run CLUSTER SLOTS ({clause(error)}). Allow its user "
                "+cluster|slots.",
                uncertain=False,
            )
        return translate_opening(error, where, None)


class SlotGuide:
    """Guide to the node that serves one slot; see `moving_host.Guide`."""

    def __init__(self, cluster: Cluster, slot: int) -> None:
        self.cluster = cluster
        self.slot = slot

    @property
    def primary(self) -> Address | None:
        """See `moving_host.Guide`."""
        found = self.cluster.range_of(self.slot)
        return found.address if found else None

    def ask(self, connections: Kept | None = None) -> Address:
        """See `moving_host.Guide`."""
        self.cluster.learn(connections)
        primary = self.primary
        if primary is None:
            raise LayerUnavailable(self.cluster.name, f"no node serves slot {self.slot}", uncertain=False)
        return primary

    async def aask(self) -> Address:
        """See `moving_host.Guide`."""
        return await asyncio.to_thread(self.ask)

    def turn(self) -> None:
        """See `moving_host.Guide`."""
        self.cluster.turn()

    def forget(self) -> None:
        """See `moving_host.Guide`."""
        self.cluster.forget()


def _ranges(reply: Any, asked: Address) -> list[Range]:
    """The reply to ``CLUSTER SLOTS``; a node may not know how others reach it, and then it is where it was asked."""
    ranges = []
    for first, last, *nodes in reply:
        (host, port, *_), *_ = nodes
        host = host.decode() if isinstance(host, bytes) else host
        address = (host if host and host != "?" else asked[0], int(port))
        identities = [node[2].decode() if isinstance(node[2], bytes) else node[2] for node in nodes]
        ranges.append(Range(int(first), int(last), address, identities[0], frozenset(identities)))
    return ranges


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
