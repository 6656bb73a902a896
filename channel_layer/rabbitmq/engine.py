"""Everything of a layer object that runs in its loop thread: the session, and who works with it."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from .. import codec, names
from ..backoff import Backoff
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerUnavailable, LayerUnusable
from ..layer import ChannelLayer, Statistics
from . import records
from .amqp import Got, parameters
from .chores import Chores
from .errors import failed, not_connected
from .last_wills import TOKEN, LastWills
from .loop_thread import beside, undisturbed
from .memberships import FLUSH, MEMBER, RESTORE, Memberships
from .publisher import BrokerBlocked
from .receiver import LostInTaking, Receiver
from .schema import FOREVER, Queue, Schema
from .sending import Sending, Sent
from .session import LOST, Session, version_of
from .statistics import Counts

T = TypeVar("T")

CONNECT_SECONDS = 3.0
"""Time that one attempt to connect may take."""

CALL_SECONDS = 4.0
"""Time for which a call waits for the broker's answers."""

BACKOFF_SHARE = 6
"""Number of attempts to connect at least, in the time of ``presence``."""

TICK_SHARE = 12
"""Number of looks at who still receives, in the time of ``presence``."""

CLOCKS_SECONDS = 5.0
"""By how much clocks of machines may differ before they tell nothing of how long a message has left."""

LEAST_LEFT = 0.5
"""Seconds that a message which is put back has left at least."""

OLDEST = (3, 8)
"""Version of RabbitMQ that the layer needs."""

_log = logging.getLogger("channel_layer.rabbitmq")


class Engine:
    """Works with the broker on behalf of a layer. Everything is called in one event loop.

    Args:
        urls: addresses of the broker, or of the nodes of a cluster, one of which is used.
        where: the same without passwords.
    """

    def __init__(self, layer: ChannelLayer, urls: Sequence[str], where: str, schema: Schema) -> None:
        self._layer = layer
        self._urls = urls
        self._where = where
        self._schema = schema
        self._current: Session | None = None
        self._lost_sessions: list[Session] = []
        self._connecting: asyncio.Task[Session] | None = None
        # With durable queues a process whose broker was restarted has part of `presence` to come back.
        self._backoff = Backoff(0.2, max(0.2, min(5.0, layer.presence / BACKOFF_SHARE)))
        self._failed: tuple[float, LayerUnavailable] | None = None
        self._tasks: set[asyncio.Future[object]] = set()
        self._unfinished: set[asyncio.Future[Any]] = set()
        self._read_in: dict[str, Session] = {}
        self._unnoted: set[str] = set()
        self._upkeep: asyncio.Task[None] | None = None
        self._is_closed = False
        capacity = layer.capacity.of_reader
        self.counts = Counts(self.session, schema)
        self.receiver = Receiver(
            self.session, schema, capacity, self._opened, self._return, self._begin_reading, self._lost, layer.presence
        )
        self.memberships = Memberships(
            self.session, schema, layer.index, layer.group_expiry, self._ready, self._front, self.background
        )
        self._wills = LastWills(
            self.session, schema, layer.presence, self._encoded, self._store, layer._tell_of_last_wills,
            self.receiver.is_read, self.memberships.remove, self.background, self._to_the_end,
        )  # fmt: skip
        self._sending = Sending(schema, capacity, layer.expiry, self._ready, self._wills)
        self._chores = Chores(schema, {TOKEN: self._wills.carry_out, MEMBER: self.memberships.due}, self.background)

    # -- the session -----------------------------------------------------------------------------

    async def session(self) -> Session:
        """The session, which is begun if there is none.

        Raises:
            LayerUnavailable: the broker cannot be reached; nothing has happened.
        """
        if self._is_closed:
            raise self._closed()
        if self._current is not None and self._current.lost is None:
            return self._current
        if self._connecting is None:
            if self._failed is not None and time.monotonic() < self._failed[0]:
                raise copy.copy(self._failed[1])
            # In a task of the engine: a caller that is cancelled leaves it to others, and `close` to nobody.
            self._connecting = asyncio.create_task(self._begin_session())
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except LayerUnavailable as error:
            raise copy.copy(error) from error  # each of those who wait has one to itself
        except asyncio.CancelledError:
            if connecting.cancelled():
                raise self._closed() from None
            raise

    async def _begin_session(self) -> Session:
        try:
            if self._current is not None:
                self._lost_sessions = [one for one in self._lost_sessions if not one.is_closed]
                self._lost_sessions.append(self._current)
                self._current = None
            try:
                self._current = await self._connect()
            except LayerUnavailable as error:
                self._failed = (time.monotonic() + self._backoff.next(), error)
                raise
            self._backoff.reset()
            self._failed = None
            if self._upkeep is None:
                self._upkeep = asyncio.create_task(self._look_after())
            return self._current
        finally:
            self._connecting = None

    def _closed(self) -> LayerUnavailable:
        return LayerUnavailable(self._where, "it is being closed", uncertain=False)

    async def _connect(self) -> Session:
        errors: list[LayerUnavailable] = []
        for url in self._urls:
            heartbeat = max(2, min(30, round(self._layer.presence / 3)))
            try:
                session = await Session.open(
                    parameters(url, CONNECT_SECONDS, heartbeat, f"millrace {self._schema.prefix}"),
                    CONNECT_SECONDS,
                    self._schema.prefix,
                )
            except Exception as error:  # pika has a class of its own for each step that failed
                errors.append(not_connected(error, self._where))
                continue
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._prepare(session)
            except BaseException as error:
                await session.close()
                if isinstance(error, LOST):
                    raise failed(error, self._where, uncertain=False) from error
                raise
            return session
        raise errors[0]

    async def _prepare(self, session: Session) -> None:
        """See if a broker can be used, and make what is needed for all calls."""
        if version_of(session.version) < OLDEST:
            raise LayerUnusable(
                self._where,
                f"RabbitMQ at {self._where} is version {session.version}; the layer needs {OLDEST[0]}.{OLDEST[1]} "
                "or later.",
                uncertain=False,
            )
        await session.ask(lambda channel: channel.declare_exchange(self._schema.groups, "direct"))
        await session.declare(self._schema.names)
        session.made = self._note_name

    async def close(self) -> None:
        """Give back what is in hand and close the connections, for good; also one that is being made."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.wait([self._upkeep])
        if self._current is not None and self._current.lost is None:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self.receiver.stop_all()
                    for task in self._tasks - self._unfinished:
                        task.cancel()  # or they would begin more of what has to be waited for
                    if self._unfinished:
                        await asyncio.wait(list(self._unfinished))
                    await self.counts.write()
            except (LayerUnavailable, *LOST):
                pass
        self._is_closed = True  # or what runs in the background would connect anew
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        # Those that were lost may still be closing.
        left = [one for one in (self._current, *self._lost_sessions) if one is not None]
        await asyncio.gather(*(one.close() for one in left))
        self._lost_sessions.clear()
        self._current = None

    # -- calls -----------------------------------------------------------------------------------

    async def send(self, items: Sequence[Outgoing]) -> Sent:
        """Send a batch.

        Raises:
            LayerUnavailable: nothing was sent.
        """
        session = await self.session()
        if session.publisher.blocked():
            raise failed(BrokerBlocked(session.publisher.blocked()), self._where, uncertain=False)
        sending = self._finish(asyncio.ensure_future(self._sending.send(session, items)))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                sent = await asyncio.shield(sending)
        except TimeoutError:
            # Then the batch says which of its messages have an unknown fate.
            if session.publisher.blocked():
                session.publisher.give_up()
            else:
                session.give_up()
            sent = await sending
        self._count(items, sent)
        return sent

    async def call(self, work: Callable[[], Awaitable[Any]], seconds: float = CALL_SECONDS) -> Any:
        """Do something else that asks the broker, which may take so long.

        Raises:
            LayerUnavailable: the broker is away, or does not answer.
        """
        await self.session()
        try:
            async with asyncio.timeout(seconds):
                return await work()
        except LOST as error:
            raise failed(error, self._where) from error

    async def receive(self, channels: Sequence[str], limit: int, timeout: float, interruptible: bool) -> list[Delivery]:
        """Receive.

        Raises:
            LayerUnavailable: the broker is away; messages may be lost if ``uncertain``.
        """
        session = await self.session()
        try:
            await self.receiver.answered(self._chores.begin(session))
            return await self.receiver.receive(channels, max(limit, 1), timeout, interruptible)
        except LOST as error:
            raise failed(error, self._where, uncertain=isinstance(error, LostInTaking)) from error

    def regret(self, deliveries: Sequence[Delivery]) -> None:
        """Put back what was handed to a caller that had gone. What came for a group has its members no more."""
        for item in deliveries:
            if item.members is None:
                prepared = self._layer.prepare(item.channel, item.message, item.headers)
                self._finish(self._begin(self.put_front([prepared], [item.expires])))
            else:
                self._lost(1)

    async def put_front(self, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        """Store messages for channels, each with the time at which it expires, at the fronts of these."""
        session = await self.session()
        for item, until in zip(items, expires, strict=True):
            await self._front(session, names.split(item.target)[0], self._encoded(item), None, None, until)

    async def stop_receiving(self, readers: Sequence[str]) -> None:
        """Leave what comes on some channels, and the last wills of their process, to others."""
        await self.receiver.stop(readers)
        await self._wills.release(readers)

    async def age(self, reader: str) -> float | None:
        """Seconds for which the oldest message has waited on a channel; ``None`` if others may be taking it."""
        session = await self.session()
        subscription = self.receiver.in_hand(reader)
        if subscription is not None and subscription.oldest is not None:
            return self._age(subscription.oldest)
        for queue in self._queues(reader):
            length = await session.length(queue)
            if length.messages and length.consumers:
                return None
            if length.messages:
                return await undisturbed(self._age_of_first(session, queue))
        return 0.0

    async def pending(self, reader: str) -> int:
        """Messages that wait on a channel."""
        session = await self.session()
        subscription = self.receiver.in_hand(reader)
        count = 0 if subscription is None else subscription.held
        for queue in self._queues(reader):
            count += (await session.length(queue)).messages
        return count

    async def statistics(self, reader: str | None) -> Statistics:
        """Numbers of messages of a channel, or of all."""
        await self.counts.write()
        if reader is None:
            return await self.counts.total(None)
        counted = await self.counts.total(names.family(reader))
        return counted | {
            "messages_pending": await self.pending(reader),
            "messages_max_age": await self.age(reader) or 0.0,
        }

    async def check(self) -> None:
        """Reach for the broker."""
        session = await self.session()
        if session.publisher.blocked():
            raise BrokerBlocked(session.publisher.blocked())
        await session.ask(lambda channel: channel.declare_exchange(self._schema.groups, "direct"))

    async def put_report(self, name: str, data: bytes, seconds: float) -> None:
        """Keep a report."""
        await records.add(await self.session(), self._schema.reports, name, data, seconds)

    async def reports(self) -> list[tuple[str, bytes | None, float]]:
        """The reports that are kept."""
        found = await records.read(await self.session(), self._schema.reports, records.latest)
        now = time.time()
        return [(record.key, record.value, max(0.0, now - record.at)) for record in found.values()]

    async def flush(self) -> None:
        """Remove everything of this prefix."""
        session = await self.session()
        found = await records.read(session, self._schema.names, records.latest)
        fronts = [name for name in found if name.endswith("!#front")]
        # A process has to hear that its members are gone, before it hears of new ones.
        for name in fronts:
            front = self._schema.front(name.removeprefix(self._schema.prefix).removesuffix("#front"))
            await session.declare(front, anew=True)
            await session.ask(lambda channel, name=name: channel.purge(name))  # type: ignore[misc]
            await session.publisher.publish(name, b"", kind=FLUSH, is_kept=True)
        for name in {*found, *(queue.name for queue in self._schema.fixed())}.difference(fronts):
            await session.ask(lambda channel, name=name: channel.delete(name))  # type: ignore[misc]
            session.gone(name)
        await self.counts.flushed(session)

    def background(self, work: Awaitable[object]) -> None:
        """Run something that nobody waits for; a failure because the broker is away is not logged."""
        self._begin(work)

    # -- inside ----------------------------------------------------------------------------------

    def _begin(self, work: Awaitable[object]) -> asyncio.Future[object]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _finish(self, task: asyncio.Future[T]) -> asyncio.Future[T]:
        """Have `close` wait for the end of something, because messages are in it."""
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return task

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._finish(beside(work)))

    def _ended(self, task: asyncio.Future[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, (LayerUnavailable, *LOST)):
                _log.error("Upkeep of the channel layer at %s failed", self._where, exc_info=error)

    async def _look_after(self) -> None:
        """See who still receives, write the counts, remove bindings that are not needed any more."""
        pause = min(1.0, self._layer.presence / TICK_SHARE)
        pruned = written = kept = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            try:
                await self._wills.look_after()
                if self._current is None or self._current.lost is not None:
                    continue
                if time.monotonic() - written >= 1:
                    written = time.monotonic()
                    await self.counts.write()
                if time.monotonic() - pruned >= 10:
                    pruned = time.monotonic()
                    await self.memberships.prune()
                if time.monotonic() - kept >= FOREVER / 4:
                    kept = time.monotonic()
                    await self._current.keep()
                    self._unnoted |= {queue.name for reader in self.receiver.known() for queue in self._queues(reader)}
                for name in list(self._unnoted):
                    await self._write_name(name)
            except (LayerUnavailable, *LOST):
                continue
            except Exception:
                _log.exception("Upkeep of the channel layer at %s failed", self._where)

    async def _ready(self, session: Session, reader: str) -> None:
        """Make both queues of a reader."""
        for queue in self._queues(reader):
            await session.declare(queue)

    def _queues(self, reader: str) -> tuple[Queue, Queue]:
        """The queues of a reader, in the order in which they are read."""
        return self._schema.front(reader), self._schema.main(reader, self._layer.capacity.of_reader(reader))

    def _note_name(self, name: str) -> None:
        """Note the name of a queue for `flush`. Nobody waits for that: the broker may take no messages now.

        Channels that are used once are left out, and so are queues that are there once.
        """
        if "?" not in name and not name.startswith(f"{self._schema.prefix}#"):
            self._unnoted.add(name)
            self.background(self._write_name(name))

    async def _write_name(self, name: str) -> None:
        await records.add(await self.session(), self._schema.names, name, b"", 2 * FOREVER)
        self._unnoted.discard(name)

    async def _begin_reading(self, session: Session, reader: str) -> None:
        """Before messages of this process come: was something lost since it last received, with the last session?"""
        await self._wills.beat(session, reader)
        if any(self._layer.index.memberships(reader)):
            is_new = self._read_in.get(reader) is not session
            if is_new or not await session.is_there(self._schema.main(reader, 1).name):
                await self._ready(session, reader)
                await self._front(session, reader, b"", RESTORE, None)
        self._read_in[reader] = session
        await self._ready(session, reader)

    async def _front(
        self,
        session: Session,
        reader: str,
        body: bytes,
        kind: str | None,
        headers: dict[str, int | str] | None,
        expires: float | None = None,
    ) -> None:
        await self._ready(session, reader)
        if kind is None and headers is None:
            seconds = self._left(expires)
            headers = {"expires": round((time.time() + seconds) * 1000)}
        else:
            seconds = None
        front, is_kept = self._schema.front(reader), seconds is None
        await session.publish_on(front, body, kind=kind, headers=headers, seconds=seconds, is_kept=is_kept)

    def _left(self, expires: float | None) -> float:
        """Seconds until a message expires. Clocks that differ by more than a little tell nothing."""
        left = self._layer.expiry if expires is None else expires - time.time()
        if left < -CLOCKS_SECONDS:
            return self._layer.expiry
        return max(min(left, self._layer.expiry), LEAST_LEFT)

    async def _return(self, reader: str, taken: Sequence[Got]) -> None:
        """Put back what was taken from a channel and found nobody."""
        session = await self.session()
        for got in taken:
            kind, headers = got.properties.type, got.properties.headers or {}
            if kind is None and "lease" not in headers:
                await self._front(session, reader, got.body, None, None, _expires(headers))
            else:
                await self._front(session, reader, got.body, kind, headers)

    async def _store(self, session: Session, target: str, frame: bytes) -> bool:
        return await self._sending.store(session, target, frame)

    def _encoded(self, item: Outgoing) -> bytes:
        return self._sending.encoded(item)

    def _opened(self, reader: str, taken: Sequence[Got]) -> list[Delivery]:
        """Make deliveries of what was taken, in order, and hear what else is among it."""
        deliveries: list[Delivery] = []
        for got in taken:
            try:
                deliveries += self._opened_one(reader, got)
            except (ValueError, TypeError):  # a program that is none of ours has put it there
                self._layer.counters.bad_frames += 1
        return deliveries

    def _opened_one(self, reader: str, got: Got) -> list[Delivery]:
        kind, headers, frame = got.properties.type, got.properties.headers or {}, got.body
        if kind is not None:
            self.memberships.heard(reader, kind, frame.decode())
            return []
        if frame[1:2] == b"\x01" and not reader.endswith("!"):
            frame = codec.readdressed(frame)
        deliveries = self._layer.open_frames(reader, [(frame, _expires(headers) or 0.0)])
        if codec.is_membership(frame):
            what, group, _, _ = codec.unpack_frame(frame, self._layer.max_frame_size)
            if what == codec.JOIN:
                self.memberships.joined(reader, group, headers.get("lease"))
            else:
                self.memberships.left(reader, group)
        return deliveries

    async def _age_of_first(self, session: Session, queue: Queue) -> float:
        async with session.short_lived() as channel:
            got = await channel.get(queue.name)
            return 0.0 if got is None else self._age(got)

    def _age(self, got: Got) -> float:
        expires = _expires(got.properties.headers or {})
        return 0.0 if expires is None else max(0.0, time.time() - expires + self._layer.expiry)

    def _lost(self, count: int) -> None:
        self._layer.counters.possible_losses += count

    def _count(self, items: Sequence[Outgoing], sent: Sent) -> None:
        self._layer.counters.group_full += sent.group_full
        missing: Collection[int] = {id(item) for item in (*sent.outcome.unsent, *sent.outcome.unknown)}
        refused = {id(item) for item in sent.outcome.refused}
        for item in items:
            if not item.group and item.body and id(item) not in missing:
                full = id(item) in refused
                self.counts.add(names.family(names.split(item.target)[0]), not full, full)


def _expires(headers: Mapping[str, Any]) -> float | None:
    """Time at which a message expires, in seconds since 1970 by its sender's clock."""
    expires = headers.get("expires")
    return expires / 1000 if isinstance(expires, (int, float)) else None
