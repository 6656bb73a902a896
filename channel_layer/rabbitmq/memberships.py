"""Groups: bindings that bring messages to the queues of members, and rosters for those who ask who they are.

One binding of a queue to a group, whoever of its process is a member, would have to be counted: it must go with the
last member, and a process that adds another one at that moment would rely on a binding that is about to go. So each
process that adds members makes bindings of its own, new ones every minute, and the process that reads the queue, once
it has heard of a member, one that is as good. That one it removes with its last member, those of others two minutes
after it heard of them last, when nobody relies on them any more.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from .. import codec, names
from ..members import MembershipIndex
from . import records
from .publisher import Answer
from .records import Folded, Record
from .schema import Schema
from .session import Session

LEASE_SECONDS = 60.0
"""Time for which the bindings that a process makes have one name."""

PRUNE_SECONDS = 2 * LEASE_SECONDS
"""Time after which the reader of a queue removes a binding that another process has made."""

BETWEEN = " "
"""Between group and channel in the key of a record. No name has one."""

FORGET, FLUSH, RESTORE = "forget", "flush", "restore"
"""Kinds of messages by which a reader is told, beside frames, what happened."""

MEMBER = "member"
"""Kind of the chore to look at a membership whose time is over."""


class Memberships:
    """Joins and leaves for any channel, and keeps the bindings of the channels that this process reads.

    Args:
        session: connects if there is no connection.
        ready: makes the queues of a reader.
        put_front: stores a message that must not be refused.
        background: runs something that nobody waits for.
    """

    def __init__(
        self,
        session: Callable[[], Awaitable[Session]],
        schema: Schema,
        index: MembershipIndex,
        group_expiry: float,
        ready: Callable[[Session, str], Awaitable[None]],
        put_front: Callable[[Session, str, bytes, str | None, dict[str, int | str] | None], Awaitable[None]],
        background: Callable[[Awaitable[object]], None],
    ) -> None:
        self._session = session
        self._schema = schema
        self._index = index
        self._group_expiry = group_expiry
        self._ready = ready
        self._put_front = put_front
        self._background = background
        self._name = uuid.uuid4().hex[:12]
        self._lease = ""
        self._own: set[tuple[str, str]] = set()
        self._of_others: dict[tuple[str, str, str], float] = {}
        self._changing = asyncio.Lock()

    # -- for any process -------------------------------------------------------------------------

    async def add(self, group: str, channel: str) -> None:
        """Make a channel a member, or renew its membership.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away; it may be a member nevertheless.
        """
        session = await self._session()
        reader, local = names.split(channel)
        if reader.endswith("!"):
            lease = self._lease_now(session)
            frame = codec.membership_frame(codec.JOIN, group, local, round(self._group_expiry))
            answer = Answer.NO_QUEUE
            while answer is Answer.NO_QUEUE:  # a queue that is gone has taken the binding with it
                await self._ready(session, reader)
                await self._bind(session, reader, group, lease)
                answer = await self._tell(session, reader, frame, headers={"lease": lease})
        else:
            session.gone(self._schema.main(reader, 1).name)  # it may be, and nobody would say so
            await self._ready(session, reader)
            await self._bind(session, reader, group, "")
        at = await self._note(session, group, channel, True)
        if not reader.endswith("!"):
            await self._set_timer(session, group, channel, at)

    async def discard(self, group: str, channel: str) -> None:
        """End a membership.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away; it may have ended nevertheless.
        """
        session = await self._session()
        reader, local = names.split(channel)
        if reader.endswith("!"):
            await self._tell(session, reader, codec.membership_frame(codec.LEAVE, group, local, None))
        else:
            await self._unbind(session, reader, group, "")
        await self._note(session, group, channel, False)

    async def channels(self, group: str) -> list[str]:
        """Members of a group, without those of processes that are gone.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away.
        """
        session = await self._session()
        found = await self._members(session, group)
        readers = {names.split(channel)[0] for channel in found}
        there = {
            reader
            for reader in readers
            if not reader.endswith("!") or await session.is_there(self._schema.main(reader, 1).name)
        }
        return [channel for channel in found if names.split(channel)[0] in there]

    async def forget(self, channels: Iterable[str]) -> None:
        """Remove channels of this process from all groups, also from those that it has not yet heard of.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away; they are forgotten in this process alone.
        """
        gone = [(channel, *names.split(channel)) for channel in channels]
        groups = {channel: self._index.forget(reader, local) for channel, reader, local in gone}
        session = await self._session()
        for channel, reader, local in gone:
            for group in groups[channel]:
                await self._left(session, reader, group, channel)
            await self._tell(session, reader, local.encode(), FORGET)

    async def remove(self, session: Session, reader: str) -> None:
        """Remove the members of a process that is gone from the rosters; one that comes back restores them.

        Raises:
            AMQPError: the connection is lost.
        """
        for roster in self._schema.rosters():
            await records.read(session, roster, partial(_without, reader))

    async def due(self, session: Session, body: bytes) -> None:
        """The time of an ordinary channel's membership is over; it ends unless it was renewed.

        Raises:
            AMQPError: the connection is lost.
        """
        group, channel, at = records.unpack(body)
        renewed = (await self._members(session, group)).get(channel)
        if renewed is None or renewed.at == at:
            await self._unbind(session, channel, group, "")

    # -- for the process that reads a channel ----------------------------------------------------

    def joined(self, reader: str, group: str, lease: object) -> None:
        """Note that this process has heard of a member that it has."""
        if isinstance(lease, str):
            self._of_others[reader, group, lease] = time.monotonic()
        if (reader, group) not in self._own:
            self._own.add((reader, group))
            self._background(self._bind_own(reader, group))

    def left(self, reader: str, group: str) -> None:
        """Note that it has heard that a member is gone."""
        if (reader, group) in self._own and not self._index.members(reader, group):
            self._own.discard((reader, group))
            self._background(self._unbind_own(reader, group))

    def heard(self, reader: str, kind: str, local: str) -> None:
        """Act on a message of another kind than a frame: a channel is gone, all was removed, or is to be restored."""
        if kind == FORGET:
            for group in self._index.forget(reader, local):
                self._background(self._left_later(reader, group, reader + local))
        elif kind == FLUSH:
            for group, member, _ in list(self._index.memberships(reader)):
                self._index.leave(reader, group, member)
            self._own = {binding for binding in self._own if binding[0] != reader}
        elif kind == RESTORE:
            self._background(self._restore(reader))

    async def prune(self) -> None:
        """Remove bindings that nobody relies on any more; to be called now and then.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away.
        """
        for reader, group in list(self._own):
            self.left(reader, group)
        latest = time.monotonic() - PRUNE_SECONDS
        for (reader, group, lease), heard in list(self._of_others.items()):
            if heard < latest:
                await self._unbind(await self._session(), reader, group, lease)
                if self._of_others.get((reader, group, lease)) == heard:
                    del self._of_others[reader, group, lease]

    # -- inside ----------------------------------------------------------------------------------

    def _lease_now(self, session: Session) -> str:
        """The name of the bindings that this process makes now."""
        lease = f"{self._name}.{int(time.monotonic() / LEASE_SECONDS)}"
        if lease != self._lease:
            old, self._lease = self._lease, lease
            session.bound = {binding for binding in session.bound if binding[2] != old}
        return lease

    async def _members(self, session: Session, group: str) -> dict[str, Record]:
        """The channels that the roster has for a group."""
        found = await records.read(session, self._schema.roster(group), records.latest)
        begin = group + BETWEEN
        return {key.removeprefix(begin): record for key, record in found.items() if key.startswith(begin)}

    async def _bind(self, session: Session, reader: str, group: str, lease: str) -> None:
        queue = self._schema.main(reader, 1).name
        async with self._changing:
            if (queue, group, lease) not in session.bound:
                arguments = {"lease": lease}
                await session.ask(lambda channel: channel.bind(queue, self._schema.groups, group, arguments))
                session.bound.add((queue, group, lease))

    async def _unbind(self, session: Session, reader: str, group: str, lease: str, unless: bool = False) -> None:
        """Undo `_bind`; with ``unless`` not if this process has come to want the binding again."""
        queue = self._schema.main(reader, 1).name
        arguments = {"lease": lease}
        async with self._changing:
            if unless and (reader, group) in self._own:
                return
            session.bound.discard((queue, group, lease))
            await session.ask(lambda channel: channel.unbind(queue, self._schema.groups, group, arguments))

    async def _bind_own(self, reader: str, group: str) -> None:
        await self._bind(await self._session(), reader, group, self._name)

    async def _unbind_own(self, reader: str, group: str) -> None:
        await self._unbind(await self._session(), reader, group, self._name, unless=True)

    async def _left(self, session: Session, reader: str, group: str, channel: str) -> None:
        self.left(reader, group)
        await self._note(session, group, channel, False)

    async def _left_later(self, reader: str, group: str, channel: str) -> None:
        await self._left(await self._session(), reader, group, channel)

    async def _restore(self, reader: str) -> None:
        """Put back what the broker has lost of this process's members."""
        session = await self._session()
        for group, local, _ in list(self._index.memberships(reader)):
            self._own.add((reader, group))
            await self._bind(session, reader, group, self._name)
            await self._note(session, group, reader + local, True)

    async def _tell(
        self,
        session: Session,
        reader: str,
        body: bytes,
        kind: str | None = None,
        headers: dict[str, int | str] | None = None,
    ) -> Answer:
        """Put something on a reader's queue, behind all messages; if that is full, where nothing is refused."""
        queue = self._schema.main(reader, 1).name
        publish = session.publisher.publish
        answer = await publish(queue, body, kind=kind, headers=headers, seconds=self._group_expiry, is_kept=True)
        if answer is Answer.NO_QUEUE:
            session.gone(queue)
        elif answer is Answer.REFUSED:
            session.look_at(queue)
            await self._put_front(session, reader, body, kind, headers)
        return answer

    async def _set_timer(self, session: Session, group: str, channel: str, at: float) -> None:
        timers = self._schema.timers(self._group_expiry)
        for queue in (self._schema.chores, timers):
            await session.declare(queue, anew=True)
        await session.publisher.publish(timers.name, records.pack((group, channel, at)), kind=MEMBER, is_kept=True)

    async def _note(self, session: Session, group: str, channel: str, is_member: bool) -> float:
        """Add a record of a member, or of one that is none any more; returns the time that it names."""
        roster, at = self._schema.roster(group), time.time()
        value = b"" if is_member else None
        await records.add(session, roster, group + BETWEEN + channel, value, self._group_expiry, at)
        return at


def _without(reader: str, found: Sequence[Record]) -> Folded[None]:
    """Drop the members of a process."""
    _, kept, _ = records.latest(found)
    return Folded(None, {n for n in kept if names.split(found[n].key.partition(BETWEEN)[2])[0] != reader})
