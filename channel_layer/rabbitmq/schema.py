"""Names and properties of the layer's queues and exchanges, all in one place.

==========================  ============================================================================
name, behind the prefix     holds
==========================  ============================================================================
``websocket.receive``       messages of an ordinary channel, as far as its capacity goes
``daphne.x!``               those of all channels of a process, and what tells it of its members
``<either>#front``          what was put back, which has its place already, and what must not be refused
``#roster.<n>``             who has joined and left which group, for those who ask
``<reader>#alive``          the token that a living process holds
``<reader>#grace``          the token of one that may have disappeared
``<reader>#wills.<life>``   its last wills
``#reports``, ``#counts``   reports of processes, numbers of messages
``#names``                  queues that were made, for ``flush``
``#chores``                 what is due: tokens and memberships of which the time is over
``#timers.<ms>``            memberships of ordinary channels until then
``#groups`` (exchange)      takes messages to groups to the queues of their members
==========================  ============================================================================

No name of a channel or a group has a ``#``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

FOREVER = 86_400.0
"""Seconds after which a queue that nobody uses is removed, and records are dropped."""

ROSTERS = 64
"""Queues over which the members of groups are spread: reading one reads a part of all memberships."""

UNLIMITED = 1_000_000_000
"""Times that a message may go back to a replicated queue. RabbitMQ 4 drops it after 20 unless it is told otherwise."""

TOKEN_SHARE = 5 / 6
"""Part of ``presence`` for which a token lies free before its process is taken for gone."""


class Queue(NamedTuple):
    """A queue as it is declared.

    Attributes:
        durable: it outlives a restart of the broker. Where others are permitted, only replicated ones do: a queue on a
            node that is down could not be made on another one otherwise.
    """

    name: str
    arguments: Mapping[str, Any]
    durable: bool = False

    @property
    def is_replicated(self) -> bool:
        """Other nodes of a cluster have all of it, too."""
        return self.arguments.get("x-queue-type") == "quorum"


class Schema:
    """The queues of one layer.

    Args:
        prefix: begins all names.
        expiry, presence: those of the layer, in seconds.
        quorum: whether ordinary channels are replicated on the nodes of a cluster.
    """

    def __init__(self, prefix: str, expiry: float, presence: float, quorum: bool) -> None:
        self.prefix = prefix
        self.groups = f"{prefix}#groups"
        self._quorum = quorum
        self._presence = presence
        self._idle = max(presence, expiry, 10.0)

    def main(self, reader: str, capacity: int) -> Queue:
        """The queue of a channel, or of a process."""
        ordinary = "!" not in reader and "?" not in reader
        arguments: dict[str, Any] = {
            "x-max-length": capacity,
            "x-overflow": "reject-publish",
            "x-expires": _ms(FOREVER if ordinary else self._idle),
        }
        if ordinary and self._quorum:
            replicated = {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED}
            return Queue(self.prefix + reader, {**arguments, **replicated}, durable=True)
        return Queue(self.prefix + reader, arguments)

    def front(self, reader: str) -> Queue:
        """The queue that is read before the other one of a reader, and refuses nothing."""
        ordinary = "!" not in reader and "?" not in reader
        return Queue(f"{self.prefix}{reader}#front", {"x-expires": _ms(FOREVER if ordinary else self._idle)})

    def roster(self, group: str) -> Queue:
        """Members of a group, and of those that share the queue with it."""
        return self._records(f"#roster.{zlib.crc32(group.encode()) % ROSTERS}")

    def fixed(self) -> list[Queue]:
        """Queues that are there once, whatever happens on the layer."""
        return [self.chores, self.reports, self.counts, *self.rosters()]

    def rosters(self) -> list[Queue]:
        """All of them."""
        return [self._records(f"#roster.{n}") for n in range(ROSTERS)]

    def token(self, reader: str) -> Queue:
        """The token of a process, which has it in hand; on the queue nothing may lie."""
        return self._delay(f"{reader}#alive", 0, self.grace(reader).name)

    def grace(self, reader: str) -> Queue:
        """The token of a process that has let go of it; after some time it becomes a chore."""
        return self._delay(f"{reader}#grace", _ms(self._presence * TOKEN_SHARE), self.chores.name)

    def wills(self, reader: str, life: str) -> Queue:
        """Last wills of a process in one of its lives."""
        return self._records(f"{reader}#wills.{life}")

    def timers(self, seconds: float) -> Queue:
        """Memberships that are to be looked at after some time."""
        return self._delay(f"#timers.{_ms(seconds)}", _ms(seconds), self.chores.name)

    @property
    def chores(self) -> Queue:
        """Chores, for whichever process comes first."""
        return Queue(f"{self.prefix}#chores", {})

    @property
    def reports(self) -> Queue:
        """The last report of each process."""
        return self._records("#reports")

    @property
    def counts(self) -> Queue:
        """Numbers of messages sent and refused."""
        return self._records("#counts")

    @property
    def names(self) -> Queue:
        """Names of the queues that were made."""
        return self._records("#names")

    def _delay(self, name: str, ms: int, then: str) -> Queue:
        arguments = {
            "x-message-ttl": ms,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": then,
            "x-expires": ms + _ms(FOREVER),
        }
        return Queue(self.prefix + name, arguments)

    def _records(self, name: str) -> Queue:
        return Queue(self.prefix + name, {"x-expires": _ms(FOREVER)})


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
