"""Connections and AMQP channels of pika, whose callbacks become awaitables. Everything of pika is in here.

All of it runs in one event loop. One private name of pika is used, by `Connection`, which can do without it.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import pika
from pika import exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

Properties = pika.BasicProperties

TRANSIENT, PERSISTENT = 1, 2
"""``delivery_mode`` of messages that a durable queue loses or keeps when the broker is restarted."""

AMQPError = exceptions.AMQPError
ChannelClosedByBroker = exceptions.ChannelClosedByBroker
ConnectionClosed = exceptions.ConnectionClosed
REFUSED = (exceptions.ProbableAuthenticationError, exceptions.AuthenticationError, exceptions.ProbableAccessDeniedError)
"""The broker was reached and does not let us in; the connection says no more than that."""

NOT_FOUND, PRECONDITION_FAILED, ACCESS_REFUSED = 404, 406, 403
"""Reply codes with which a broker closes an AMQP channel."""

FEATURE = "transient_nonexcl_queues"
"""RabbitMQ's name for queues that do not outlive its restart and are not for one connection alone."""

INTERNAL_ERROR = 541
"""Reply code with which a broker closes the connection of who asks for a feature that it does not permit any more."""

SLOW_SECONDS = 1.0
"""Time for the answer to a question about a queue, after which somebody is told that it is missing."""

CLOSE_SECONDS = 3.0
"""Time for which a broker may take to say goodbye."""

# What it logs are causes that an error of ours tells, too, many of them with a traceback.
logging.getLogger(pika.__name__).addHandler(logging.NullHandler())
logging.getLogger(pika.__name__).propagate = False


class Got(NamedTuple):
    """A message that the broker handed over.

    Attributes:
        tag: by which it is acknowledged, on the AMQP channel that it came from.
    """

    tag: int
    properties: Any
    body: bytes


class Length(NamedTuple):
    """Length of a queue.

    Attributes:
        messages: those that no consumer has in hand.
        consumers: consumers that could take some.
    """

    messages: int
    consumers: int


class Connection:
    """One connection. Made by `connect`.

    Attributes:
        blocked: why the broker takes no messages on this connection; empty while it does.
        lost: called once when the connection has ended, with the reason.
    """

    def __init__(self) -> None:
        self.blocked = ""
        self.lost: Callable[[BaseException], None] = _ignore
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._channels: weakref.WeakSet[Channel] = weakref.WeakSet()
        self._raw: Any = None

    @classmethod
    async def connect(cls, parameters: Any, seconds: float) -> Connection:
        """Connect and log in. Nothing is left open if that fails, or is cancelled.

        Raises:
            AMQPError, OSError: it cannot be reached, or refuses.
            TimeoutError: it does not answer within ``seconds``.
        """
        self = cls()
        self._raw = AsyncioConnection(
            parameters,
            on_open_callback=lambda _: _settle(self._opened, None),
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_close,
            custom_ioloop=self._loop,
        )
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._opened)
        except BaseException:
            # pika that is told to close while it resolves a name may go on to connect, and nobody would know of that
            # connection. So whatever comes of it is awaited, unless it is past that.
            if self._transport() is None:
                await asyncio.wait([self._opened], timeout=seconds)
            await self.close()
            raise
        self._raw.add_on_connection_blocked_callback(self._on_blocked)
        self._raw.add_on_connection_unblocked_callback(self._on_unblocked)
        return self

    @property
    def is_open(self) -> bool:
        """It can be used."""
        return bool(self._raw.is_open)

    @property
    def is_closed(self) -> bool:
        """It has ended, and its socket is closed."""
        return self._closed.done()

    @property
    def version(self) -> str:
        """Version of the broker, as it says itself."""
        properties: Mapping[str, Any] = (self._raw.params and self._raw.server_properties) or {}
        return str(properties.get("version", ""))

    async def channel(self) -> Channel:
        """Open an AMQP channel.

        Raises:
            AMQPError: the connection is lost.
        """
        opened: asyncio.Future[None] = self._loop.create_future()
        channel = Channel(self._raw.channel(on_open_callback=lambda _: _settle(opened, None)), self._loop)
        self._channels.add(channel)
        channel.waits(opened)
        await opened
        return channel

    async def close(self) -> None:
        """Close it; what was not acknowledged goes back to its queues. A broker that does not answer is cut off."""
        if not self._raw.is_closed and not self._raw.is_closing:
            self._raw.close()
        if self._raw.is_closing:
            await asyncio.wait([self._closed], timeout=CLOSE_SECONDS)
            if not self._closed.done() and (transport := self._transport()) is not None:
                transport.abort()  # pika itself gives up when heartbeats are missing, much later
                await asyncio.wait([self._closed], timeout=CLOSE_SECONDS)

    def give_up(self, reason: BaseException) -> None:
        """Fail everything that waits for the broker, which does not answer, and begin to close the connection."""
        for channel in list(self._channels):
            channel.fail(reason)
        if self._raw.is_open:
            self._raw.close()

    def _transport(self) -> Any:
        return getattr(self._raw, "_transport", None)

    def _on_open_error(self, _: Any, reason: BaseException) -> None:
        _fail(self._opened, reason)
        _settle(self._closed, None)

    def _on_close(self, _: Any, reason: BaseException) -> None:
        _fail(self._opened, reason)
        _settle(self._closed, None)
        self.lost(reason)

    def _on_blocked(self, _: Any, frame: Any) -> None:
        self.blocked = str(frame.method.reason or "an alarm")

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = ""


class Channel:
    """One AMQP channel. The broker closes it when it refuses something; then it is of no more use.

    Attributes:
        closed: called once when it has ended, with the reason.
        cancelled: called with the tag of a consumer that the broker has ended, because its queue is gone.
        returned: called with the ``message_id`` of a mandatory message that no queue has taken.
        confirmed: called with tag, whether for all up to it, and whether stored.
        slow: called with the name of a queue whose answer to a question takes long, and the future of the answer.
    """

    def __init__(self, raw: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.closed: Callable[[BaseException], None] = _ignore
        self.cancelled: Callable[[str], None] = _ignore
        self.returned: Callable[[str], None] = _ignore
        self.confirmed: Callable[[int, bool, bool], None] = _ignore
        self.slow: Callable[[str, asyncio.Future[Any]], None] = _ignore
        self._raw = raw
        self._loop = loop
        self._waiting: set[asyncio.Future[Any]] = set()
        self._reason: BaseException | None = None
        self._getting: asyncio.Future[Got | None] | None = None
        self._one_get = asyncio.Lock()
        self._asked = self._heard = 0
        self._heard_at = 0.0
        raw.add_on_close_callback(lambda _, reason: self.fail(reason))
        raw.add_on_cancel_callback(lambda frame: self.cancelled(frame.method.consumer_tag))
        raw.add_on_return_callback(lambda _, __, properties, ___: self.returned(properties.message_id))
        raw.add_callback(self._on_get_empty, [pika.spec.Basic.GetEmpty], one_shot=False)

    @property
    def is_open(self) -> bool:
        """It can be used."""
        return self._reason is None and bool(self._raw.is_open)

    def waits(self, future: asyncio.Future[Any]) -> None:
        """Have a future fail if the channel is closed before it is done."""
        if self._reason is not None:
            _fail(future, self._reason)
            return
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)

    # -- queues and exchanges --------------------------------------------------------------------

    async def declare(self, queue: str, arguments: Mapping[str, Any] | None = None, durable: bool = True) -> None:
        """Make a queue if there is none of the name; a durable one outlives a restart of the broker."""
        await self._ask_of(queue, self._raw.queue_declare, durable=durable, arguments=dict(arguments or {}))

    async def length(self, queue: str) -> Length:
        """Look at a queue that is there.

        The answer comes behind everything that the queue has handed to consumers of this AMQP channel before.
        """
        frame = await self._ask_of(queue, self._raw.queue_declare, passive=True)
        return Length(int(frame.method.message_count), int(frame.method.consumer_count))

    async def declare_exchange(self, name: str, kind: str) -> None:
        """Make an exchange if there is none of the name."""
        await self._ask(self._raw.exchange_declare, name, exchange_type=kind, durable=True)

    async def bind(self, queue: str, exchange: str, key: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Have an exchange put messages with a routing key on a queue."""
        await self._ask(self._raw.queue_bind, queue, exchange, routing_key=key, arguments=dict(arguments or {}))

    async def unbind(self, queue: str, exchange: str, key: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Undo `bind`; no error if there is no such binding."""
        await self._ask(self._raw.queue_unbind, queue, exchange, routing_key=key, arguments=dict(arguments or {}))

    async def delete(self, queue: str, if_unused: bool = False, if_empty: bool = False) -> None:
        """Remove a queue; no error if there is none.

        One that has consumers, or messages, may be left out, which is an error.
        """
        await self._ask(self._raw.queue_delete, queue, if_unused=if_unused, if_empty=if_empty)

    async def purge(self, queue: str) -> None:
        """Remove all messages of a queue."""
        await self._ask_of(queue, self._raw.queue_purge)

    # -- receiving -------------------------------------------------------------------------------

    async def qos(self, most: int) -> None:
        """Bound what a consumer that begins from now on has in hand; 0 for no bound."""
        await self._ask(self._raw.basic_qos, prefetch_count=most)

    async def consume(self, queue: str, take: Callable[[Got], None], exclusive: bool = False, priority: int = 0) -> str:
        """Have messages handed to ``take`` until `cancel`; returns the consumer's tag.

        Args:
            exclusive: no other consumer may be there.
            priority: consumers with a lower one get messages only when this one can take no more.
        """

        def on_message(_: Any, method: Any, properties: Any, body: bytes) -> None:
            take(Got(method.delivery_tag, properties, body))

        arguments = {"x-priority": priority} if priority else None
        frame = await self._ask_of(queue, self._raw.basic_consume, on_message, exclusive=exclusive, arguments=arguments)
        return str(frame.method.consumer_tag)

    async def cancel(self, consumer: str) -> None:
        """End a consumer. What it has in hand stays there, what comes meanwhile goes back."""
        if consumer in self._raw.consumer_tags:  # the broker may have ended it
            await self._ask(self._raw.basic_cancel, consumer)

    async def get(self, queue: str) -> Got | None:
        """Take the first message of a queue in hand."""
        async with self._one_get:
            self._getting = self._loop.create_future()
            self._ask_next(self._getting, queue)
            self._raw.basic_get(queue, self._on_get)
            return await self._getting

    def ack(self, tag: int, multiple: bool = False) -> None:
        """Take a message in hand from its queue for good; with ``multiple`` all up to it."""
        self._raw.basic_ack(tag, multiple=multiple)

    def give_back(self, tag: int, multiple: bool = False) -> None:
        """Put a message in hand back to its place; with ``multiple`` all up to it."""
        self._raw.basic_nack(tag, multiple=multiple, requeue=True)

    # -- sending ---------------------------------------------------------------------------------

    async def confirm(self) -> None:
        """Have the broker say what became of each message; see `confirmed`. Messages count from 1."""
        await self._ask(self._raw.confirm_delivery, self._on_confirm)

    def publish(self, exchange: str, key: str, body: bytes, properties: Any, mandatory: bool) -> None:
        """Send one message."""
        if self._reason is not None:
            raise copy.copy(self._reason)
        self._raw.basic_publish(exchange, key, body, properties, mandatory=mandatory)

    def fail(self, reason: BaseException) -> None:
        """Fail everything that waits for an answer; there will be none."""
        if self._reason is None:
            self._reason = reason
            for future in list(self._waiting):
                _fail(future, reason)
            self.closed(reason)

    async def close(self) -> None:
        """Close it; what was not acknowledged goes back to its queues."""
        if not self._raw.is_open:
            return
        ended: asyncio.Future[None] = self._loop.create_future()
        self._raw.add_on_close_callback(lambda *_: _settle(ended, None))
        self._waiting.add(ended)
        self._raw.close()
        try:
            await ended
        except (AMQPError, OSError):
            pass  # the connection is lost, and the broker has everything back

    # -- inside ----------------------------------------------------------------------------------

    async def _ask(self, method: Callable[..., Any], *arguments: Any, watched: str = "", **options: Any) -> Any:
        """Ask the broker; see `_ask_next` for a queue that is watched."""
        if self._reason is not None:
            raise copy.copy(self._reason)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._ask_next(answer, watched)
        method(*arguments, callback=partial(self._hear, answer), **options)
        return await answer

    async def _ask_of(self, queue: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Ask for something that only the queue itself can tell, or do."""
        return await self._ask(method, queue, *arguments, watched=queue, **options)

    def _ask_next(self, answer: asyncio.Future[Any], queue: str = "") -> None:
        """Have an answer fail with the channel, and somebody told if a queue does not give it for long."""
        self.waits(answer)
        self._asked += 1
        if queue:
            self._watch(queue, answer, self._asked, self._loop.time())

    def _watch(self, queue: str, answer: asyncio.Future[Any], number: int, asked_at: float) -> None:
        # The broker answers one question of a channel after the other: the queue is not asked before the last answer.
        due = max(asked_at, self._heard_at) + SLOW_SECONDS
        if self._heard == number - 1 and self._loop.time() >= due:
            self.slow(queue, answer)
            return
        timer = self._loop.call_at(
            max(due, self._loop.time() + SLOW_SECONDS / 10), self._watch, queue, answer, number, asked_at
        )
        answer.add_done_callback(lambda _: timer.cancel())

    def _hear(self, answer: asyncio.Future[Any], value: Any) -> None:
        self._heard += 1
        self._heard_at = self._loop.time()
        _settle(answer, value)

    def _on_get(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        if self._getting is not None:
            self._hear(self._getting, Got(method.delivery_tag, properties, body))

    def _on_get_empty(self, _: Any) -> None:
        if self._getting is not None:
            self._hear(self._getting, None)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        self.confirmed(method.delivery_tag, bool(method.multiple), method.NAME == "Basic.Ack")


def parameters(url: str, seconds: float, heartbeat: int, name: str) -> Any:
    """Parameters for a connection, from an address.

    Raises:
        ValueError: it is not one.
    """
    found = pika.URLParameters(url)
    found.heartbeat = heartbeat
    found.connection_attempts = 1
    found.socket_timeout = found.stack_timeout = seconds
    found.client_properties = {"connection_name": name}
    return found


def _ignore(*_: Any) -> None:
    """Nobody asks."""


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever has stopped waiting does not need to hear of it
