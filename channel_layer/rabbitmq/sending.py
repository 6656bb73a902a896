"""Sending a batch: in order on each channel, with the fate of each message."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from .. import codec, names
from ..delivery import Outgoing
from ..outcome import Outcome
from .last_wills import LastWills, Left
from .publisher import Answer
from .schema import Schema
from .session import LOST, Session

ROOM_SHARE = 2
"""A channel has room beyond doubt as long as it holds no more than its capacity, divided by this."""

ROOM_SECONDS = 0.5
"""Time for which the length of a queue that was asked for is relied upon."""


class Sent:
    """Outcome of a batch.

    Attributes:
        outcome: of the messages that were not stored.
        group_full: messages to groups that found a member without room.
        error: why some were not stored, or may not have been.
    """

    def __init__(self, outcome: Outcome, group_full: int, error: BaseException | None) -> None:
        self.outcome = outcome
        self.group_full = group_full
        self.error = error


class Sending:
    """Sends batches. Runs in one event loop.

    Messages are published one behind the other, before the answers to the first have come. If a queue refused one of
    them and took a later one, because a reader had made room in between, the refused one could not be sent again in its
    place. So several messages for one channel are only sent in this way if that has room for many more; otherwise each
    waits for the answer to the one before.
    """

    def __init__(
        self,
        schema: Schema,
        capacity: Callable[[str], int],
        expiry: float,
        ready: Callable[[Session, str], Awaitable[None]],
        wills: LastWills,
    ) -> None:
        self._schema = schema
        self._capacity = capacity
        self._expiry = expiry
        self._ready = ready
        self._wills = wills
        self._lengths: dict[str, tuple[float, int]] = {}

    async def send(self, session: Session, items: Sequence[Outgoing]) -> Sent:
        """Send a batch; never raises for a lost connection, but says what became of each message."""
        batch = _Batch(items)
        try:
            tight = await self._prepare(session, items)
            for n, item in enumerate(items):
                await self._begin(session, batch, n, item, tight)
        except LOST as error:
            batch.error = error
        await batch.wait()
        self._look_at_full(session, batch, items)
        await self._send_again(session, batch, items)
        await self._undo(session, batch, items)
        return batch.result()

    async def store(self, session: Session, target: str, frame: bytes) -> bool:
        """Put a frame on a channel; false if that is full.

        Raises:
            AMQPError: the connection is lost; it may be there.
        """
        reader = names.split(target)[0]
        answer = Answer.NO_QUEUE
        while answer is Answer.NO_QUEUE:
            await self._ready(session, reader)
            answer = await self._publish(session, reader, frame)
            if answer is Answer.NO_QUEUE:
                session.gone(self._schema.main(reader, 1).name)
        return answer is Answer.STORED

    def encoded(self, item: Outgoing) -> bytes:
        """The frame of a message, as it lies on its queue."""
        local = item.target if item.group else names.split(item.target)[1]
        return codec.frame(codec.GROUP if item.group else codec.DIRECT, local, item.body, item.headers)

    # -- inside ----------------------------------------------------------------------------------

    async def _prepare(self, session: Session, items: Sequence[Outgoing]) -> set[str]:
        """Make the queues of a batch; returns the readers that may not have room for all of it."""
        wanted = Counter(names.split(item.target)[0] for item in items if not item.group and item.body)
        for reader in wanted:
            await self._ready(session, reader)
        return {reader for reader, n in wanted.items() if n > 1 and not await self._has_room(session, reader, n)}

    async def _has_room(self, session: Session, reader: str, count: int) -> bool:
        room = self._capacity(reader) // ROOM_SHARE
        asked, length = self._lengths.get(reader, (0.0, 0))
        if time.monotonic() - asked > ROOM_SECONDS or length + count > room:
            queue = self._schema.main(reader, self._capacity(reader))
            asked, length = time.monotonic(), (await session.length(queue)).messages
            if len(self._lengths) > 1000:
                self._lengths.clear()
        self._lengths[reader] = (asked, length + count)
        return length + count <= room

    async def _begin(self, session: Session, batch: _Batch, n: int, item: Outgoing, tight: set[str]) -> None:
        """Send one message of a batch, and its last will behind it."""
        reader = names.split(item.target)[0]
        if not item.group and reader in batch.full:
            batch.answers[n] = Answer.REFUSED
            return
        will = item.last_will
        if will is not None:
            if not await self._wills.prepare(session, will):
                batch.answers[n] = Answer.STORED
                return
            batch.before[n] = self._wills.before(will)
        if not item.body:
            batch.answers[n] = Answer.STORED
        else:
            batch.begin(n, self._publish(session, reader, self.encoded(item), item.target if item.group else ""))
        if will is not None:
            batch.also(self._wills.put(session, will))
        if reader in tight and not item.group:
            await batch.wait()
            if batch.answers.get(n) is Answer.REFUSED:
                batch.full.add(reader)

    def _publish(self, session: Session, reader: str, frame: bytes, group: str = "") -> asyncio.Future[Answer]:
        expires = round((time.time() + self._expiry) * 1000)
        return session.publisher.publish(
            group or self._schema.main(reader, 1).name,
            frame,
            exchange=self._schema.groups if group else "",
            seconds=self._expiry,
            headers={"expires": expires},
        )

    def _look_at_full(self, session: Session, batch: _Batch, items: Sequence[Outgoing]) -> None:
        """A queue on a node that is down refuses everything, as one that is full does."""
        for reader in {names.split(items[n].target)[0] for n in batch.refused() if not items[n].group}:
            session.look_at(self._schema.main(reader, 1).name)

    async def _send_again(self, session: Session, batch: _Batch, items: Sequence[Outgoing]) -> None:
        """Send what found no queue, because that was removed since it was last used."""
        for n, item in enumerate(items):
            if batch.answers.get(n) is Answer.NO_QUEUE:
                session.gone(self._schema.main(names.split(item.target)[0], 1).name)
                try:
                    stored = await self.store(session, item.target, self.encoded(item))
                except LOST as error:
                    batch.error = error
                    batch.answers.pop(n)
                else:
                    batch.answers[n] = Answer.STORED if stored else Answer.REFUSED

    async def _undo(self, session: Session, batch: _Batch, items: Sequence[Outgoing]) -> None:
        for n, before in batch.before.items():
            will = items[n].last_will
            if batch.answers.get(n) is Answer.REFUSED and will is not None:
                try:
                    await self._wills.undo(session, will, before)
                except LOST as error:
                    batch.error = error


class _Batch:
    """The messages of a batch that are on their way."""

    def __init__(self, items: Sequence[Outgoing]) -> None:
        self.answers: dict[int, Answer] = {}
        self.before: dict[int, Left | None] = {}
        self.full: set[str] = set()
        self.error: BaseException | None = None
        self._items = items
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._begun: set[int] = set()
        self._beside: list[Awaitable[None]] = []

    def begin(self, n: int, answer: asyncio.Future[Answer]) -> None:
        """A message was published."""
        self._begun.add(n)
        self._waiting[n] = answer

    def also(self, work: Awaitable[None]) -> None:
        """Something was published with it."""
        self._beside.append(asyncio.ensure_future(work))

    async def wait(self) -> None:
        """Wait for the answers to everything that is on its way."""
        waiting, self._waiting = self._waiting, {}
        for n, answer in waiting.items():
            try:
                self.answers[n] = await answer
            except LOST as error:
                self.error = error
        beside, self._beside = self._beside, []
        for result in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(result, BaseException):
                self.error = result

    def refused(self) -> list[int]:
        """Numbers of the messages that were refused."""
        return [n for n, answer in self.answers.items() if answer is Answer.REFUSED]

    def result(self) -> Sent:
        """Its outcome."""
        refused: list[Outgoing] = []
        unsent: list[Outgoing] = []
        unknown: list[Outgoing] = []
        group_full = 0
        for n, item in enumerate(self._items):
            answer = self.answers.get(n)
            if answer is Answer.REFUSED and item.group:
                group_full += 1
            elif answer is Answer.REFUSED:
                refused.append(item)
            elif answer is None:
                (unknown if n in self._begun else unsent).append(item)
        return Sent(Outcome(refused, unsent, unknown), group_full, self.error if unsent or unknown else None)
