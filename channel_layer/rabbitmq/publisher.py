"""Sending with an answer for each message: stored, refused by a full queue, or taken by no queue at all."""

from __future__ import annotations

import asyncio
from enum import Enum
from itertools import takewhile

from .amqp import PERSISTENT, TRANSIENT, Channel, Connection, Properties


class Answer(Enum):
    """Answer of the broker to a message."""

    STORED = "stored"
    REFUSED = "a queue that it is for was full"
    NO_QUEUE = "there is no such queue; the broker holds nothing of it"


class BrokerBlocked(ConnectionError):
    """The broker is short of memory or disk, and reads nothing from who publishes. Its text is what it says itself."""


class Publisher:
    """Publishes on one AMQP channel, in the order of the calls, and matches the broker's answers."""

    def __init__(self, channel: Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection
        self._last = 0
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._returned: set[int] = set()
        self._loop = asyncio.get_running_loop()
        channel.returned = lambda name: self._returned.add(int(name))
        channel.confirmed = self._on_confirmed

    @classmethod
    async def on(cls, channel: Channel, connection: Connection) -> Publisher:
        """A publisher that has the AMQP channel of a connection for itself."""
        await channel.confirm()
        return cls(channel, connection)

    def blocked(self) -> str:
        """The reason why the broker takes no messages; empty while it does."""
        return self._connection.blocked

    def give_up(self) -> None:
        """Fail the answers that have not come, because the broker takes no messages. It may take these later."""
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(BrokerBlocked(self.blocked()))
        self._open.clear()

    def publish(
        self,
        key: str,
        body: bytes,
        *,
        exchange: str = "",
        kind: str | None = None,
        seconds: float | None = None,
        headers: dict[str, int | str] | None = None,
        is_kept: bool = False,
    ) -> asyncio.Future[Answer]:
        """Send one message; the answer fails with the reason if the connection is lost before it comes.

        Args:
            key: name of a queue, or with ``exchange`` the routing key.
            kind: tells messages apart that are not frames.
            seconds: time after which the broker drops it.
            is_kept: a queue that outlives a restart of the broker keeps it.

        Raises:
            AMQPError: the connection is lost; nothing was sent.
            BrokerBlocked: the broker takes no messages; nothing was sent.
        """
        if self.blocked():
            raise BrokerBlocked(self.blocked())
        number = self._last + 1
        properties = Properties(
            delivery_mode=PERSISTENT if is_kept else TRANSIENT,
            message_id=str(number),
            type=kind,
            expiration=None if seconds is None else str(max(1, round(seconds * 1000))),
            headers=headers,
        )
        self._channel.publish(exchange, key, body, properties, mandatory=not exchange)
        self._last = number
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._open[number] = answer
        self._channel.waits(answer)
        return answer

    def _on_confirmed(self, tag: int, multiple: bool, stored: bool) -> None:
        # They are open in the order of their numbers.
        numbers = list(takewhile(lambda number: number <= tag, self._open)) if multiple else [tag]
        for number in numbers:
            answer = self._open.pop(number, None)
            found = Answer.STORED if stored else Answer.REFUSED
            if number in self._returned:
                self._returned.discard(number)
                found = Answer.NO_QUEUE
            if answer is not None and not answer.done():
                answer.set_result(found)
