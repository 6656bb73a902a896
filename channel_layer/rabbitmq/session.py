"""Two connections to a broker, and what is known while they last.

A broker that runs out of memory or disk stops reading from a connection that publishes. What is received, acknowledged
and declared goes over another one, so that the readers can make room.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .amqp import (
    ACCESS_REFUSED,
    FEATURE,
    INTERNAL_ERROR,
    NOT_FOUND,
    PRECONDITION_FAILED,
    AMQPError,
    Channel,
    ChannelClosedByBroker,
    Connection,
    ConnectionClosed,
    Length,
)
from .loop_thread import beside, undisturbed
from .publisher import Answer, Publisher
from .schema import Queue

T = TypeVar("T")

_log = logging.getLogger("channel_layer.rabbitmq")

MOST_DECLARED = 10_000
"""Queues of which it is remembered that they are there."""

MAY_REFUSE_TRANSIENT = (3, 12)
"""The oldest version whose configuration can forbid features that are on their way out."""

SURE_SECONDS = 0.1
"""Time that a queue which could answer is given to do so, before it is taken for one whose node is down."""

LOOK_SECONDS = 2.0
"""Time between two looks at a queue that has refused messages."""

MOST_TRIES = 5
"""Times that a message for a queue that was removed is sent."""

LOST = (AMQPError, OSError, TimeoutError)
"""Errors of a lost connection, and of a broker that refuses something."""


class Session:
    """The connections of a layer object, from `open` to the loss of either.

    Attributes:
        publisher: sends; see there.
        declared: names of queues that were there when they were last used.
        kept: queues of records that this process adds to; `keep` them.
        until_read: records that this process adds to a queue until it reads them; see `channel_layer.rabbitmq.records`.
        bound: bindings that this process has made.
        made: called with the name of each queue that was declared.
        lost: why it is of no more use; ``None`` as long as it is.
        makes_durable: whether all queues outlive a restart of the broker, because it permits no others.
    """

    def __init__(self, writing: Connection, reading: Connection) -> None:
        self.publisher: Publisher
        self.declared: set[str] = set()
        self.kept: dict[str, Queue] = {}
        self.until_read: dict[str, int] = {}
        self.bound: set[tuple[str, ...]] = set()
        self.made: Callable[[str], None] = _nothing
        self.lost: BaseException | None = None
        self.makes_durable = False
        self._writing = writing
        self._reading = reading
        self._admin: Channel | None = None
        self._one_admin = asyncio.Lock()
        self._declaring: dict[str, asyncio.Task[None]] = {}
        self._replicated: set[str] = set()
        self._examined: set[str] = set()
        self._looked: dict[str, float] = {}

    @classmethod
    async def open(cls, parameters: Any, seconds: float, prefix: str = "") -> Session:
        """Connect. Nothing is left open if that fails, or is cancelled.

        Args:
            parameters: see `channel_layer.rabbitmq.amqp.parameters`.
            seconds: the longest time for each step.
            prefix: begins the names of queues that the user may make.

        Raises:
            AMQPError, OSError, TimeoutError: it cannot be done.
        """
        made: list[Connection] = []
        try:
            for _ in range(2):
                made.append(await Connection.connect(parameters, seconds))
            self = cls(*made)
            for connection in made:
                connection.lost = self._on_lost
            async with asyncio.timeout(seconds):
                self.publisher = await Publisher.on(await self.writing_channel(), made[0])
            self.makes_durable = not await permits_transient(made[0].version, parameters, seconds, prefix)
        except BaseException:
            await asyncio.gather(*(connection.close() for connection in made))
            raise
        return self

    @property
    def is_closed(self) -> bool:
        """Nothing of it is left."""
        return self._writing.is_closed and self._reading.is_closed

    @property
    def version(self) -> str:
        """Version of the broker."""
        return self._reading.version

    async def writing_channel(self) -> Channel:
        """Open an AMQP channel beside the publisher's, on whose connection nothing is asked that must not wait."""
        channel = await self._open(self._writing)
        channel.closed = self._on_lost
        return channel

    async def channel(self) -> Channel:
        """Open an AMQP channel for receiving."""
        return await self._open(self._reading)

    async def ask(self, question: Callable[[Channel], Awaitable[T]]) -> T:
        """Ask on an AMQP channel that all share, in turns. Not ended by the caller's cancellation.

        Raises:
            AMQPError: it failed; a channel that the broker has closed therefore is replaced by the next call.
        """
        return await undisturbed(self._ask(question))

    @asynccontextmanager
    async def short_lived(self, connection: Connection | None = None) -> AsyncIterator[Channel]:
        """An AMQP channel that is closed at the end; what it has in hand then goes back. Use it `undisturbed`.

        Args:
            connection: if not the one for receiving.
        """
        channel = await self._open(connection or self._reading)
        try:
            yield channel
        finally:
            await channel.close()

    async def declare(self, queue: Queue, anew: bool = False) -> None:
        """Make a queue if it is not known to be there.

        Args:
            anew: ask the broker even so, because somebody may have removed it.

        Raises:
            AMQPError: it cannot be done.
        """
        if anew:
            self.declared.discard(queue.name)
        if queue.name in self.declared:
            return
        self._raise_if_lost()
        task = self._declaring.get(queue.name)
        if task is None:
            task = self._declaring[queue.name] = asyncio.create_task(self._declare(queue))
        await asyncio.shield(task)

    async def is_there(self, name: str) -> bool:
        """Find out if a queue exists, without making it."""
        try:
            await self.ask(lambda channel: channel.length(name))
        except ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND:
                raise
            self.gone(name)
            return False
        return True

    async def length(self, queue: Queue) -> Length:
        """Look at a queue, which is made if it is not there.

        Raises:
            AMQPError: it cannot be done.
        """
        while True:
            await self.declare(queue)
            try:
                return await self.ask(lambda channel: channel.length(queue.name))
            except ChannelClosedByBroker as error:
                if error.reply_code != NOT_FOUND:
                    raise
                self.gone(queue.name)

    async def keep(self) -> None:
        """Declare the queues of records anew: messages that come do not count as use, without which they expire.

        Raises:
            AMQPError: it cannot be done.
        """
        for queue in list(self.kept.values()):
            await self.declare(queue, anew=True)

    def look_at(self, name: str) -> None:
        """Find out if a queue that has refused a message is on a node that is down; nobody waits for that."""
        now = time.monotonic()
        if now - self._looked.get(name, -math.inf) >= LOOK_SECONDS and name not in self._replicated:
            if len(self._looked) >= MOST_DECLARED:
                self._looked.clear()
            self._looked[name] = now
            beside(self.is_there(name))

    async def publish_on(self, queue: Queue, body: bytes, **options: Any) -> None:
        """Publish on a queue that has no limit, which is made if it is not there; see `Publisher.publish`.

        Raises:
            AMQPError, OSError: the connection is lost, or the broker does not store it.
        """
        for _ in range(MOST_TRIES):
            await self.declare(queue)
            if await self.publisher.publish(queue.name, body, **options) is Answer.STORED:
                return
            self.gone(queue.name)  # or on a node that is down
        raise ConnectionError(f"the broker does not store a message on {queue.name}")

    def gone(self, name: str) -> None:
        """A queue is not there any more."""
        self.declared.discard(name)
        self.bound = {binding for binding in self.bound if binding[0] != name}

    async def close(self) -> None:
        """Close both connections; what was not acknowledged goes back to its queues."""
        self._on_lost(ConnectionError("it was closed"))
        await asyncio.gather(self._writing.close(), self._reading.close())

    def give_up(self) -> None:
        """The broker does not answer; everything that waits for it fails."""
        self._on_lost(TimeoutError("it does not answer in time"))

    async def _ask(self, question: Callable[[Channel], Awaitable[T]]) -> T:
        # Until the answer is there: with some the broker closes the channel, under the next question if that was there.
        async with self._one_admin:
            if self._admin is None or not self._admin.is_open:
                self._admin = await self.channel()
            return await question(self._admin)

    async def _declare(self, queue: Queue) -> None:
        durable = queue.durable or self.makes_durable
        if queue.is_replicated:
            self._replicated.add(queue.name)
        try:
            try:
                await self.ask(lambda channel: channel.declare(queue.name, queue.arguments, durable))
            except ChannelClosedByBroker as error:
                if error.reply_code != PRECONDITION_FAILED:
                    raise
                # While a new version of a project is rolled out, its processes may name another capacity than the old
                # ones.
                _log.warning("The queue %s has other properties than CONFIG asks for, and is used as it is", queue.name)
            if len(self.declared) >= MOST_DECLARED:
                self.declared.clear()
            self.declared.add(queue.name)
            self.made(queue.name)
        finally:
            del self._declaring[queue.name]

    async def _open(self, connection: Connection) -> Channel:
        """Open an AMQP channel; queues that do not answer there are examined."""
        channel = await connection.channel()
        channel.slow = lambda name, answer: self._begin_to_examine(connection, name, answer)
        return channel

    def _begin_to_examine(self, connection: Connection, name: str, answer: asyncio.Future[Any]) -> None:
        if self.lost is None and name not in self._replicated and name not in self._examined:
            self._examined.add(name)
            examining = beside(self._examine(connection, name, answer))
            examining.add_done_callback(lambda _: self._examined.discard(name))

    async def _examine(self, connection: Connection, name: str, answer: asyncio.Future[Any]) -> None:
        """Remove a queue that does not answer a question, if that is because its node is down.

        From RabbitMQ 4.3 on the broker keeps such queues, and has who asks for one wait for a minute. But to who would
        remove an empty one it says at once that this one is not empty, for it cannot know. A queue whose node is up,
        and which is only slow, says so itself, once it has answered the question, which came before on the same
        connection. When the queue has gone, the question gets an answer, too.
        """
        try:
            async with self.short_lived(connection) as channel:
                await channel.delete(name, if_unused=True, if_empty=True)
            self.gone(name)
        except ChannelClosedByBroker as error:
            await asyncio.sleep(SURE_SECONDS)
            if error.reply_code == PRECONDITION_FAILED and not answer.done():
                await self._remove_lost(name)

    async def _remove_lost(self, name: str) -> None:
        """Remove a queue that is on a node that is down, to be made anew on another one; the messages are lost."""
        async with self.short_lived() as channel:
            await channel.delete(name, if_unused=True)
        self.gone(name)
        _log.warning("The queue %s is on a node that is down, and is made anew", name)

    def _raise_if_lost(self) -> None:
        if self.lost is not None:
            raise copy.copy(self.lost)

    def _on_lost(self, reason: BaseException) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        for connection in (self._writing, self._reading):
            connection.give_up(reason)


async def permits_transient(version: str, parameters: Any, seconds: float, prefix: str) -> bool:
    """Find out if a broker makes queues that do not outlive its restart, for several connections to use.

    RabbitMQ 4.3 and later do not, unless their configuration permits it. A broker that does not closes the connection
    of who asks, so this is one of its own.

    Raises:
        AMQPError, OSError, TimeoutError: it cannot be found out.
    """
    if version_of(version) < MAY_REFUSE_TRANSIENT:
        return True
    connection = await Connection.connect(parameters, seconds)
    try:
        async with asyncio.timeout(seconds):
            channel = await connection.channel()
            name = f"{prefix}#permitted.{uuid.uuid4().hex[:12]}"
            await channel.declare(name, {"x-expires": 60_000}, durable=False)
            await channel.delete(name)
    except ConnectionClosed as error:
        if error.reply_code != INTERNAL_ERROR or FEATURE not in str(error.reply_text):
            raise
        return False
    except ChannelClosedByBroker as error:
        if error.reply_code != ACCESS_REFUSED:
            raise  # else the next question, whose answer is needed, is refused as well
    finally:
        await connection.close()
    return True


def version_of(text: str) -> tuple[int, ...]:
    """Major and minor version of a broker."""
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _nothing(_: str) -> None:
    """Nobody asks."""
