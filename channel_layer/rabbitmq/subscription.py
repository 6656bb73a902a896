"""The messages that one process has in hand of one channel.

A consumer takes messages in hand without taking them from the queue: if this process dies they go back to their places.
Before they are handed out they are acknowledged, and the broker's next answer proves that the acknowledgement has
arrived. So no message is handed out that may be delivered again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from .amqp import NOT_FOUND, Channel, ChannelClosedByBroker, Got
from .loop_thread import undisturbed
from .schema import Queue
from .session import LOST, Session


class Subscription:
    """The consumers of both queues of a reader, on an AMQP channel of their own.

    Args:
        front, main: the queues; what is in hand of the first goes before that of the second.
        arrived: called when a message has come, or the consumers have ended.
    """

    def __init__(self, front: Queue, main: Queue, arrived: Callable[[], None]) -> None:
        self._queues = (front, main)
        self._arrived = arrived
        self._in_hand: tuple[deque[Got], deque[Got]] = (deque(), deque())
        self._taken_back: deque[Got] = deque()
        self._channel: Channel | None = None
        self._consumers: dict[str, Queue] = {}
        self._most = 1
        self._changing = asyncio.Lock()

    @property
    def is_active(self) -> bool:
        """Messages come."""
        return len(self._consumers) == len(self._queues) and self._channel is not None and self._channel.is_open

    def takes(self, most: int) -> bool:
        """So many messages come at once, or more."""
        return self.is_active and self._most >= most

    @property
    def has_any(self) -> bool:
        """Something is in hand."""
        return bool(self._taken_back or self._in_hand[0] or self._in_hand[1])

    @property
    def oldest(self) -> Got | None:
        """The message that would be taken next."""
        for kept in (self._taken_back, *self._in_hand):
            if kept:
                return kept[0]
        return None

    @property
    def held(self) -> int:
        """Number of messages in hand."""
        return len(self._taken_back) + len(self._in_hand[0]) + len(self._in_hand[1])

    async def begin(self, session: Session, most: int) -> None:
        """Have messages come, at most so many of each queue at once. Not ended by the caller's cancellation.

        Raises:
            AMQPError: the connection is lost.
        """
        await undisturbed(self._begin_once(session, most))

    async def _begin_once(self, session: Session, most: int) -> None:
        async with self._changing:
            if self.is_active and self._most < most:
                await self._pause()
            while not self.is_active:
                try:
                    await self._begin(session, most)
                except ChannelClosedByBroker as error:
                    if error.reply_code != NOT_FOUND:
                        raise
                    for queue in self._queues:  # one was removed since it was last used
                        session.gone(queue.name)

    async def settle(self) -> None:
        """Wait for everything that was on the queues when this was called.

        Raises:
            AMQPError: the connection is lost.
        """
        if self._channel is not None and self.is_active:
            for queue in self._queues:
                try:
                    await self._channel.length(queue.name)
                except ChannelClosedByBroker as error:  # it was removed; its receiver begins anew
                    if error.reply_code != NOT_FOUND:
                        raise
                    return

    def take(self, limit: int) -> tuple[list[Got], bool]:
        """Take messages out of this process's hand, and from their queues.

        Returns:
            The messages, and whether to `prove` that they are off their queues before they are handed out.

        Raises:
            AMQPError: the connection is lost; nothing was taken.
        """
        if self._taken_back:
            return [self._taken_back.popleft() for _ in range(min(limit, len(self._taken_back)))], False
        assert self._channel is not None
        taken: list[Got] = []
        for kept in self._in_hand:
            taken += [kept.popleft() for _ in range(min(limit - len(taken), len(kept)))]
        highest = max((got.tag for got in taken), default=0)
        if all(not kept or kept[0].tag > highest for kept in self._in_hand):
            self._channel.ack(highest, multiple=True)
        else:
            for got in taken:
                self._channel.ack(got.tag)
        return taken, True

    def take_back(self, taken: Sequence[Got]) -> None:
        """Keep messages that were taken and found nobody, for the next one who takes some."""
        self._taken_back.extendleft(reversed(taken))
        self._arrived()

    async def prove(self) -> None:
        """Wait until the broker has surely removed what was taken.

        Raises:
            AMQPError: nobody knows if it has.
        """
        assert self._channel is not None
        await self._channel.qos(self._most)

    async def pause(self) -> list[Got]:
        """Give back what is in hand, for other processes. Returns what was taken back and is to be sent anew."""
        async with self._changing:
            await self._pause()
            left = list(self._taken_back)
            self._taken_back.clear()
            return left

    async def end(self) -> None:
        """Close the AMQP channel, after a pause."""
        if self._channel is not None and self._channel.is_open:
            await self._channel.close()

    async def _pause(self) -> None:
        channel, consumers = self._channel, list(self._consumers)
        self._consumers.clear()
        if channel is not None and channel.is_open:
            try:
                for consumer in consumers:
                    await channel.cancel(consumer)
                highest = max((got.tag for kept in self._in_hand for got in kept), default=0)
                if highest:
                    channel.give_back(highest, multiple=True)
                    await channel.length(self._queues[1].name)  # then it is back on its queue
            except LOST:
                pass  # then the broker has everything back already
        self._drop()
        self._arrived()

    async def _begin(self, session: Session, most: int) -> None:
        for queue in self._queues:
            await session.declare(queue)
        if self._channel is None or not self._channel.is_open:
            self._drop()
            self._channel = await session.channel()
            self._channel.closed = self._on_closed(self._channel)
            self._channel.cancelled = self._on_cancelled(session)
        self._most = most
        await self._channel.qos(most)
        for queue, kept in zip(self._queues, self._in_hand, strict=True):
            if queue not in self._consumers.values():
                tag = await self._channel.consume(queue.name, self._taker(self._channel, kept))
                self._consumers[tag] = queue

    def _taker(self, channel: Channel, kept: deque[Got]) -> Callable[[Got], None]:
        def take(got: Got) -> None:
            if channel is self._channel and channel.is_open:  # and not one that was given up
                kept.append(got)
                self._arrived()

        return take

    def _on_cancelled(self, session: Session) -> Callable[[str], None]:
        def cancelled(consumer: str) -> None:
            queue = self._consumers.pop(consumer, None)
            if queue is not None:
                session.gone(queue.name)
            self._arrived()

        return cancelled

    def _on_closed(self, channel: Channel) -> Callable[[BaseException], None]:
        def closed(_: BaseException) -> None:
            if channel is self._channel:
                self._drop()
                self._arrived()

        return closed

    def _drop(self) -> None:
        self._consumers.clear()
        for kept in self._in_hand:
            kept.clear()
