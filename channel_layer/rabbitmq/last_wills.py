"""Last wills: what a process leaves to be sent in case it disappears, and who does that.

Each process that leaves some holds a token, a message that it has in hand of a queue of its own. If the process
disappears, the broker puts the token back, and as nothing may lie on that queue, moves it to a second one. If it lies
there for too long the broker moves it to the chores, and the process that takes it from there carries out what the
first has left. No clock but the broker's is asked, and no process has to look after others. One that comes back in
time takes its token from the second queue and puts a copy on the first, because a message keeps the time at which it
expires.

The last wills are records on a queue that is named after the token: of one *life* of the process. Whoever takes a
record from there may send it, and nobody else; when all are sent the queue is removed. A process that comes back and
finds no token does not know yet if others will take it: the broker may not have noticed that the first connection is
gone. It begins another life, and as long as the queue of the old one is there takes the records of that as others do.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from .. import names
from ..delivery import LastWill, Outgoing
from . import records
from .amqp import PRECONDITION_FAILED, Channel, ChannelClosedByBroker, Got
from .loop_thread import undisturbed
from .records import Folded, Record
from .schema import FOREVER, Queue, Schema
from .session import Session

RETRY_SECONDS = 0.1
"""Pause after last wills have found no room on their channel."""

AT_ONCE = 20
"""Last wills that are taken from their queue and sent together."""

RENEW_SECONDS = 300.0
"""Time after which a token is replaced by a copy. Brokers cut off who has had a message in hand for long."""

ROUNDS = 2
"""Answers to wait for until a token that was stored has come, or never will. The broker says that it is stored before
the queue hands it over, and may give the first answer in between."""

TOKEN = "token"
"""Kind of message that a token is, also among the chores."""


class Left(NamedTuple):
    """A last will that is in force.

    Attributes:
        life: name of the life in which it was left.
        value: target and frame, as its record holds them.
    """

    life: str
    value: bytes


class _Person:
    """The last wills of this process as the reader of some channels.

    Attributes:
        wills: by channel, all that are in force.
        tokens: name of a life → tag of its token in hand. That of a predecessor may be among them.
        life: name of the life that last wills are left in now.
        issuing: lives whose tokens this process has published, and not in hand yet.
        priority: that of its consumers; each new one has a higher one.
        doubtful: lives whose tokens others may have.
        carried_out: channels whose last wills others have sent.
    """

    def __init__(self) -> None:
        self.wills: dict[str, Left] = {}
        self.tokens: dict[str, int] = {}
        self.life = ""
        self.issuing: set[str] = set()
        self.priority = 0
        self.doubtful: set[str] = set()
        self.carried_out: set[str] = set()
        self.channel: Channel | None = None
        self.active_until = 0.0
        self.renewed = 0.0
        self.changing = asyncio.Lock()

    def holds(self) -> bool:
        """It has the token of its life in hand, so nobody takes it for gone."""
        return self.channel is not None and self.channel.is_open and self.life in self.tokens


class LastWills:
    """Leaves and withdraws last wills of this process, and carries out those of others. Runs in one event loop.

    Args:
        session: connects if there is no connection.
        encoded: makes the frame of a message, as it lies on its channel.
        store: puts a frame on a reader's channel; false if that is full.
        told: see `ChannelLayer.watch_last_wills`.
        is_read: whether this process waits for messages of a reader.
        gone: removes the members of a process that is gone.
        background: runs something that nobody waits for.
        to_the_end: runs something to its end, though the caller is cancelled or the layer closed.
    """

    def __init__(
        self,
        session: Callable[[], Awaitable[Session]],
        schema: Schema,
        presence: float,
        encoded: Callable[[Outgoing], bytes],
        store: Callable[[Session, str, bytes], Awaitable[bool]],
        told: Callable[[str, Collection[str]], None],
        is_read: Callable[[str], bool],
        gone: Callable[[Session, str], Awaitable[None]],
        background: Callable[[Awaitable[object]], None],
        to_the_end: Callable[[Coroutine[Any, Any, tuple[int, bool]]], Awaitable[tuple[int, bool]]],
    ) -> None:
        self._session = session
        self._schema = schema
        self._presence = presence
        self._to_the_end = to_the_end
        self._encoded = encoded
        self._store = store
        self._told = told
        self._is_read = is_read
        self._gone = gone
        self._background = background
        self._persons: dict[str, _Person] = {}

    # -- of this process -------------------------------------------------------------------------

    async def prepare(self, session: Session, will: LastWill) -> bool:
        """Make sure that a message with a last will may be sent; false if others have said the same already.

        Raises:
            AMQPError: the connection is lost.
        """
        reader = names.split(will.channel)[0]
        person = self._persons.setdefault(reader, _Person())
        await self._hold(session, reader, person)
        if will.message is not None:
            return True
        if will.channel in person.carried_out:
            person.carried_out.discard(will.channel)
            return False
        left = person.wills.get(will.channel)
        if left is not None and left.life in person.doubtful:
            return await self._claim(session, reader, person, will.channel, left)
        return not will.claims or left is not None

    def put(self, session: Session, will: LastWill) -> Awaitable[None]:
        """Leave a last will or withdraw one; it takes its place at once, behind what was sent before."""
        reader = names.split(will.channel)[0]
        person = self._persons[reader]
        before = person.wills.get(will.channel)
        life = person.life if before is None or before.life in person.doubtful else before.life
        if will.message is None:
            return self._put(session, reader, person, will.channel, life, None)
        value = records.pack((will.message.target, self._encoded(will.message)))
        return self._put(session, reader, person, will.channel, life, value)

    def before(self, will: LastWill) -> Left | None:
        """The last will that is in force for the same channel, for `undo`."""
        person = self._persons.get(names.split(will.channel)[0])
        return None if person is None else person.wills.get(will.channel)

    def undo(self, session: Session, will: LastWill, before: Left | None) -> Awaitable[None]:
        """Put in force again what was before a last will that rode with a message which was refused."""
        reader = names.split(will.channel)[0]
        person = self._persons[reader]
        if before is None or before.life in person.tokens:
            life, value = (person.life, None) if before is None else before
            return self._put(session, reader, person, will.channel, life, value)
        # It was not withdrawn from a life that others may have, and what is put there now might be seen by nobody.
        withdrawn = self._put(session, reader, person, will.channel, person.life, None)
        if before.life in person.doubtful:
            person.wills[will.channel] = before
        return withdrawn

    async def beat(self, session: Session, reader: str) -> None:
        """This process receives from one of its channels now.

        Raises:
            AMQPError: the connection is lost.
        """
        person = self._persons.get(reader)
        if person is not None:
            await self._hold(session, reader, person)

    async def look_after(self) -> None:
        """Lay down the tokens of channels that this process has stopped to receive from, and renew the others.

        To be called several times in ``presence``.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away.
        """
        now = time.monotonic()
        for reader, person in list(self._persons.items()):
            if self._is_read(reader):
                person.active_until = now + self._presence / 2
            if not person.holds():
                continue
            if now > person.active_until:
                await self._release(person)
                continue
            session = await self._session()
            if now - person.renewed > RENEW_SECONDS:
                person.renewed = now
                held = self._schema.token(reader)
                for life in list(person.tokens):
                    await session.publisher.publish(held.name, records.pack((reader, life)), kind=TOKEN, is_kept=True)
            for life in list(person.doubtful):
                await self._settle(session, reader, person, life)

    async def release(self, readers: Sequence[str]) -> None:
        """Lay down the tokens of some channels at once, for a successor."""
        for reader in readers:
            person = self._persons.get(reader)
            if person is not None:
                await self._release(person)

    # -- of others -------------------------------------------------------------------------------

    async def carry_out(self, session: Session, body: bytes) -> None:
        """Send what a process has left that is gone; a part that finds no room is tried again until there is some.

        Raises:
            AMQPError: the connection is lost; others go on where this has ended.
        """
        reader, life = records.unpack(body)
        queue = self._schema.wills(reader, life)
        if await self._remove_if_unread(session, self._schema.main(reader, 1)):
            await self._remove_if_unread(session, self._schema.front(reader))
            await self._gone(session, reader)  # who hears of it finds no member of it
        while True:
            due, had_room = await self._to_the_end(self._send_some(session, queue))
            if not due:
                break
            if not had_room:
                await asyncio.sleep(RETRY_SECONDS)
        await self._remove(session, queue)

    # -- inside ----------------------------------------------------------------------------------

    async def _send_some(self, session: Session, queue: Queue) -> tuple[int, bool]:
        """Send some last wills of a process that is gone; returns their number, and whether there was room for all."""
        due, had_room = await records.read(session, queue, _first, make=False), True
        for record in due:
            assert record.value is not None
            target, frame = records.unpack(record.value)
            if not await self._store(session, target, frame):
                await records.add(session, queue, record.key, record.value, FOREVER, record.at)
                had_room = False
        return len(due), had_room

    def _put(
        self, session: Session, reader: str, person: _Person, channel: str, life: str, value: bytes | None
    ) -> Awaitable[None]:
        """Have a last will in force for a channel, or none."""
        person.wills.pop(channel, None)
        if value is not None:
            person.wills[channel] = Left(life, value)
        return records.add(session, self._schema.wills(reader, life), channel, value, FOREVER)

    async def _claim(self, session: Session, reader: str, person: _Person, channel: str, left: Left) -> bool:
        """Take the last will of a channel from those of a life that others may be carrying out; false if they have."""
        queue = self._schema.wills(reader, left.life)
        person.wills.pop(channel, None)
        claimed = await records.read(session, queue, partial(_one, channel), make=False)
        if claimed:  # it is of the life in which `undo` would put it in force again
            person.wills[channel] = Left(person.life, left.value)
        return claimed

    async def _hold(self, session: Session, reader: str, person: _Person) -> None:
        """Make sure that this process holds a token, an old one if there is any."""
        person.active_until = time.monotonic() + self._presence / 2
        if not person.holds():
            await undisturbed(self._take_hold(session, reader, person))

    async def _take_hold(self, session: Session, reader: str, person: _Person) -> None:
        async with person.changing:
            if person.holds():
                return
            held, grace = self._schema.token(reader), self._schema.grace(reader)
            was_lost = bool(person.life) and not await session.is_there(grace.name)
            for needed in (self._schema.chores, grace, held):
                await session.declare(needed, anew=True)
            await self._let_go(person)
            person.channel = channel = await session.writing_channel()
            person.renewed = time.monotonic()
            channel.cancelled = lambda _: person.tokens.clear()
            # The broker may not have noticed that the old connection is gone, and would hand tokens to its consumers.
            person.priority = newest = max(time.time_ns() // 1_000_000, person.priority + 1)  # clocks may be set back
            await channel.consume(
                held.name, lambda got: self._take(session, reader, person, channel, got), priority=newest
            )
            lay_free: list[Got] = []
            take = lay_free.append
            await channel.consume(grace.name, lambda got: take(got), priority=newest)
            await channel.length(grace.name)
            # A token comes later if the broker notices only then that the old connection is gone.
            take = lambda got: self._background(self._adopt(session, reader, person, channel, got))  # noqa: E731
            for got in lay_free:
                await self._adopt(session, reader, person, channel, got)
            if was_lost:
                person.wills.clear()
                person.doubtful.clear()
                self._told(reader, set())
            if person.life not in person.tokens:
                if person.life and not was_lost:
                    person.doubtful.add(person.life)
                    # Who carries it out removes the queue; to make it anew would keep this process in doubt for ever.
                    session.kept.pop(self._schema.wills(reader, person.life).name, None)
                person.life = uuid.uuid4().hex[:12]
                if not await self._issue(session, reader, person, channel, person.life):
                    raise ConnectionError(f"another process has begun to receive what comes for {reader}")
            for life in list(person.doubtful):
                await self._settle(session, reader, person, life)
            for life in person.tokens:
                queue = self._schema.wills(reader, life)
                session.kept[queue.name] = queue

    async def _adopt(self, session: Session, reader: str, person: _Person, channel: Channel, got: Got) -> None:
        """Take a token that lay free, of this process or of its predecessor, and what was left with it."""
        life = records.unpack(got.body)[1]
        is_in_hand = await self._issue(session, reader, person, channel, life)
        channel.ack(got.tag)
        if is_in_hand:
            await self._learn(session, reader, person, life)

    async def _learn(self, session: Session, reader: str, person: _Person, life: str) -> None:
        """Know what was left in a life whose token this process has in hand."""
        if life != person.life and life not in person.doubtful:
            found = await records.read(session, self._schema.wills(reader, life), records.latest)
            for record in found.values():
                person.wills.setdefault(record.key, Left(life, record.value or b""))
        person.doubtful.discard(life)

    async def _issue(self, session: Session, reader: str, person: _Person, channel: Channel, life: str) -> bool:
        """Put a token on the queue that this process takes it in hand from; false if another process has taken it.

        Raises:
            AMQPError: the connection is lost.
        """
        held = self._schema.token(reader)
        person.issuing.add(life)
        try:
            await session.publisher.publish(held.name, records.pack((reader, life)), kind=TOKEN, is_kept=True)
            for _ in range(ROUNDS):
                await channel.length(held.name)
        finally:
            person.issuing.discard(life)
        return life in person.tokens

    def _take(self, session: Session, reader: str, person: _Person, channel: Channel, got: Got) -> None:
        life = records.unpack(got.body)[1]
        old = person.tokens.get(life)
        person.tokens[life] = got.tag
        if old is not None:
            channel.ack(old)
        elif life not in person.issuing:  # a process that received before has published it
            self._background(self._learn(session, reader, person, life))

    async def _settle(self, session: Session, reader: str, person: _Person, life: str) -> None:
        """Find out if others have carried out all last wills of a life."""
        queue = self._schema.wills(reader, life)
        if await session.is_there(queue.name):
            return
        session.kept.pop(queue.name, None)
        person.doubtful.discard(life)
        gone = {channel for channel, left in person.wills.items() if left.life == life}
        for channel in gone:
            del person.wills[channel]
        person.carried_out |= gone
        if gone:
            self._told(reader, {names.split(channel)[1] for channel in gone})

    async def _release(self, person: _Person) -> None:
        async with person.changing:
            await self._let_go(person)

    async def _let_go(self, person: _Person) -> None:
        channel, person.channel = person.channel, None
        person.tokens.clear()
        if channel is not None and channel.is_open:
            channel.closed = lambda _: None
            channel.cancelled = lambda _: None
            await channel.close()

    async def _remove_if_unread(self, session: Session, queue: Queue) -> bool:
        """Remove a queue of a process that is gone, so that groups pass it over, unless a successor reads it."""
        try:
            await session.ask(lambda channel: channel.delete(queue.name, if_unused=True))
        except ChannelClosedByBroker as error:
            if error.reply_code != PRECONDITION_FAILED:
                raise
            return False
        session.gone(queue.name)
        return True

    async def _remove(self, session: Session, queue: Queue) -> None:
        await session.ask(lambda channel: channel.delete(queue.name))
        session.gone(queue.name)
        session.kept.pop(queue.name, None)


def _first(found: Sequence[Record]) -> Folded[list[Record]]:
    """Some of the last wills in force, which are removed."""
    last, kept, _ = records.latest(found)
    due = list(last.values())[:AT_ONCE]
    gone = {record.key for record in due}
    return Folded(due, {n for n in kept if found[n].key not in gone})


def _one(channel: str, found: Sequence[Record]) -> Folded[bool]:
    """Remove the last will of one channel; the result is whether it was in force."""
    last, kept, _ = records.latest(found)
    return Folded(channel in last, {n for n in kept if found[n].key != channel})
