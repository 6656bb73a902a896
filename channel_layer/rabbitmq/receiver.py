"""Receiving: the subscriptions of this process, for as long as somebody waits for messages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from ..delivery import Delivery
from .amqp import Got
from .schema import Schema
from .session import LOST, Session
from .subscription import Subscription

HOLD_SECONDS = 0.02
"""Time for which messages stay in hand while nobody receives. A process that is busy for longer leaves them to others.

Whoever takes one message at a time, because it needs long for each, leaves the others at once.
"""

HOLD_OWN_SECONDS = 1.0
"""Longest such time for channels of this process alone. Who looks into one often keeps its consumers."""

ANSWER_SECONDS = 4.0
"""Time for which a receive waits for an answer of the broker other than a message."""

MOST_IN_HAND = 500
"""Messages of a process's own channels that it has in hand at once; nobody else could take them."""


class LostInTaking(ConnectionError):
    """The connection was lost while messages were taken; nobody knows if they come again."""


class Receiver:
    """Takes messages of channels for the callers of `receive`. Runs in one event loop.

    Args:
        session: connects if there is no connection.
        capacity: of a reader's channel.
        opened: makes deliveries of what was taken from a reader's channel.
        put_front: stores messages at the front of a reader's channel.
        began: called before a reader's messages come, with the session.
        lost: told how many messages may be lost.
        presence: seconds without a receive after which this process counts as gone.
    """

    def __init__(
        self,
        session: Callable[[], Awaitable[Session]],
        schema: Schema,
        capacity: Callable[[str], int],
        opened: Callable[[str, Sequence[Got]], list[Delivery]],
        put_front: Callable[[str, Sequence[Got]], Awaitable[None]],
        began: Callable[[Session, str], Awaitable[None]],
        lost: Callable[[int], None],
        presence: float,
    ) -> None:
        self._session = session
        self._schema = schema
        self._capacity = capacity
        self._opened = opened
        self._put_front = put_front
        self._began = began
        self._lost = lost
        self._hold_own = min(HOLD_OWN_SECONDS, presence / 10)
        self._subscriptions: dict[str, Subscription] = {}
        self._users: dict[str, int] = {}
        self._waiting: set[asyncio.Event] = set()
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._interrupts = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(
        self, channels: Sequence[str], limit: int, timeout: float, interruptible: bool = False
    ) -> list[Delivery]:
        """Take up to ``limit`` messages from one of the channels, waiting up to ``timeout`` seconds for the first.

        Raises:
            LayerUnavailable, AMQPError, OSError: the broker is away.
            LostInTaking: and messages may be lost.
        """
        interrupts = self._interrupts
        deadline = asyncio.get_running_loop().time() + timeout
        news = asyncio.Event()
        self._waiting.add(news)
        for channel in channels:
            self._use(channel)
        try:
            settled = False
            while True:
                news.clear()
                await self._begin(channels, limit)
                ready = [channel for channel in channels if self._subscriptions[channel].has_any]
                if ready:
                    deliveries = await self._take(random.choice(ready), limit, channels)
                    if deliveries:
                        return deliveries
                    continue
                remaining = deadline - asyncio.get_running_loop().time()
                if interruptible and self._interrupts != interrupts:
                    return []
                if remaining <= 0:
                    if settled or timeout > 0:
                        return []
                    await self.answered(*(self._subscriptions[channel].settle() for channel in channels))
                    settled = True
                    continue
                try:
                    async with asyncio.timeout(remaining):
                        await news.wait()
                except TimeoutError:
                    pass
        finally:
            self._waiting.discard(news)
            for channel in channels:
                self._leave(channel)

    def interrupt(self) -> None:
        """End the interruptible waits that have begun."""
        self._interrupts += 1
        self._tell()

    def is_read(self, reader: str) -> bool:
        """Somebody waits for messages of it now."""
        return reader in self._users

    def in_hand(self, reader: str) -> Subscription | None:
        """The messages that this process has in hand of a channel."""
        return self._subscriptions.get(reader)

    def known(self) -> set[str]:
        """Channels that this process receives from, now and then."""
        return set(self._subscriptions)

    async def stop(self, channels: Sequence[str]) -> None:
        """Give back what is in hand of some channels that nobody receives on. Goes on if the caller is cancelled."""
        pauses = [self._begin_pause(channel) for channel in channels if channel not in self._users]
        if pauses:
            await asyncio.wait(pauses)

    async def stop_all(self) -> None:
        """The same for all channels, with what is being taken for callers that have gone."""
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self.stop(list(self._subscriptions))

    async def answered(self, *questions: Awaitable[None]) -> None:
        """Ask the broker several things at once; one that does not answer is given up."""
        session = await self._session()
        try:
            async with asyncio.timeout(ANSWER_SECONDS) as bound:
                await asyncio.gather(*questions)
        except TimeoutError:
            if bound.expired():
                session.give_up()
            raise

    # -- inside ----------------------------------------------------------------------------------

    async def _begin(self, channels: Sequence[str], limit: int) -> None:
        # The next batch is on its way while one is dealt with, unless each message takes long.
        most = 1 if limit == 1 else min(2 << (limit - 1).bit_length(), MOST_IN_HAND)
        idle = [
            channel for channel in channels if not self._subscriptions[channel].takes(most if channel[-1] != "!" else 1)
        ]
        if idle:
            session = await self._session()
            await self.answered(*(self._began(session, channel) for channel in idle if channel.endswith("!")))
            await self.answered(
                *(
                    self._subscriptions[channel].begin(session, MOST_IN_HAND if channel.endswith("!") else most)
                    for channel in idle
                )
            )

    async def _take(self, channel: str, limit: int, channels: Sequence[str]) -> list[Delivery]:
        subscription = self._subscriptions[channel]
        taken, unproven = subscription.take(limit)
        taking = self._begin_task(self._end_taking(subscription, unproven, channels if limit == 1 else ()))
        try:
            await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda done: self._keep(channel, subscription, taken, done))
            raise
        except LOST as error:
            self._lost(len(taken))
            raise LostInTaking(str(error)) from error
        return self._opened(channel, taken)

    async def _end_taking(self, subscription: Subscription, unproven: bool, left: Sequence[str]) -> None:
        if unproven:
            await self.answered(subscription.prove())
        # What is in hand of ordinary channels that nobody else in this process receives on is for others.
        alone = [channel for channel in left if self._users.get(channel) == 1 and not channel.endswith("!")]
        await asyncio.gather(*(self._pause(channel) for channel in alone))

    def _keep(
        self, channel: str, subscription: Subscription, taken: Sequence[Got], proving: asyncio.Future[None]
    ) -> None:
        """Keep what a receive had taken that was cancelled, for the next one, or for others."""
        if proving.cancelled() or proving.exception() is not None:
            self._lost(len(taken))
            return
        self._subscriptions.setdefault(channel, subscription).take_back(taken)
        if channel not in self._users:
            self._begin_pause(channel)

    def _use(self, channel: str) -> None:
        self._users[channel] = self._users.get(channel, 0) + 1
        pause = self._pauses.pop(channel, None)
        if pause is not None:
            pause.cancel()
        if channel not in self._subscriptions:
            self._subscriptions[channel] = Subscription(
                self._schema.front(channel), self._schema.main(channel, self._capacity(channel)), self._tell
            )

    def _leave(self, channel: str) -> None:
        self._users[channel] -= 1
        if not self._users[channel]:
            del self._users[channel]
            loop = asyncio.get_running_loop()
            hold = self._hold_own if channel.endswith("!") else HOLD_SECONDS
            self._pauses[channel] = loop.call_later(hold, self._begin_pause, channel)

    def _begin_pause(self, channel: str) -> asyncio.Task[None]:
        pause = self._pauses.pop(channel, None)
        if pause is not None:
            pause.cancel()
        return self._begin_task(self._pause(channel))

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _pause(self, channel: str) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        left = await subscription.pause()
        if left:
            try:
                await self._put_front(channel, left)
            except Exception:
                self._lost(len(left))
        if "?" in channel and channel not in self._users and self._subscriptions.get(channel) is subscription:
            del self._subscriptions[channel]
            await subscription.end()

    def _tell(self) -> None:
        for event in self._waiting:
            event.set()
