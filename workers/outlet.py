"""Messages of hosted applications on their way to the connections: one write for all that gathered meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from channel_layer import tracing
from channel_layer.backoff import Backoff
from channel_layer.codec import EMPTY, pack_body, unpack_body
from channel_layer.delivery import SHARED, Headers, Message, Outgoing
from channel_layer.exceptions import LayerUnavailable, MessageTooLarge, clause
from channel_layer.layer import ChannelLayer
from channel_layer.names import split
from channel_layer.outcome import Fate, fates

from .batches import OVERHEAD, fitting

logger = logging.getLogger(__name__)

ROOM_BYTES = 4_194_304
"""Bytes that may wait here before applications have to."""

FIRST_RETRY, LAST_RETRY = 0.02, 1.0

_Address: TypeAlias = tuple[str, int, int]
"""A connection in a message to several, its epoch, and the number of the last event that is done."""

PLAIN = frozenset({"epoch", "turn", "trace", "traced_at"})
"""Headers of messages that can be put together."""


class Speaker(Protocol):
    """An instance that has something to say at the next write."""

    def last_words(self) -> Outgoing | None:
        """Add to a message that is about to be written, or return one to be written behind all others."""

    def wake(self) -> None:
        """More has been written."""


class Outlet:
    """Write messages in the order in which they come. Belongs to one event loop.

    A message that was certainly not stored is tried again until it is; one whose fate is unknown is lost.

    Args:
        layer: where to.

    Attributes:
        added: the number of messages so far.
    """

    def __init__(self, layer: ChannelLayer) -> None:
        self._layer = layer
        self._items: list[Outgoing] = []
        self._speakers: dict[Speaker, None] = {}
        self.added = self._written = 0
        self._retrying = 0
        self._waiting: dict[Speaker, None] = {}
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._text: str | None = None
        self._text_body = EMPTY

    @property
    def is_idle(self) -> bool:
        """True if nothing waits and nothing is being written."""
        return self._task is None

    @property
    def is_crowded(self) -> bool:
        """True while applications have to wait for `room`."""
        return self._bytes > ROOM_BYTES

    def prepare(self, channel: str, message: Message, headers: Headers) -> Outgoing:
        """Encode a message for a connection, once if many instances say the same one after the other.

        Raises: as `ChannelLayer.prepare`.
        """
        text = message.get("text")
        if type(text) is not str or len(message) != 1:
            return self._layer.prepare(channel, message, headers)
        if text == self._text:
            return Outgoing(channel, self._text_body, tracing.stamp(headers) if tracing.is_on else headers)
        item = self._layer.prepare(channel, message, headers)
        self._text, self._text_body = text, item.body
        return item

    def add(self, item: Outgoing, speaker: Speaker | None = None) -> None:
        """Write a message with the next batch, before which a speaker is asked; returns at once."""
        self._append(item)
        if speaker is not None:
            self._speakers[speaker] = None
        if self._task is None:
            self._start()

    def _append(self, item: Outgoing) -> None:
        self._items.append(item)
        self.added += 1
        self._bytes += len(item.body) + OVERHEAD

    def ask(self, speaker: Speaker) -> None:
        """Have a speaker asked before the next batch is written."""
        self._speakers[speaker] = None
        if self._task is None:
            self._start()

    def has_written(self, number: int) -> bool:
        """True if the first so many messages are stored, or lost for good."""
        return self._written >= number

    def wake_later(self, speaker: Speaker) -> None:
        """Wake a speaker once more has been written."""
        self._waiting[speaker] = None

    def _wake_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for speaker in waiting:
                speaker.wake()

    async def room(self) -> None:
        """Wait while too much waits already."""
        while self.is_crowded:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def _start(self) -> None:
        # A context of its own: it does not belong to the one who happens to be the first.
        self._task = asyncio.get_running_loop().create_task(self._write_all(), context=contextvars.Context())

    async def _write_all(self) -> None:
        retries = Backoff(FIRST_RETRY, LAST_RETRY)
        try:
            while self._items or self._speakers:
                speakers, self._speakers = self._speakers, {}
                for speaker in speakers:
                    item = speaker.last_words()
                    if item is not None:
                        self._append(item)
                count = fitting(self._items)
                batch, self._items = self._items[:count], self._items[count:]
                # One that is tried again may stand for several, which cannot be counted before it is written.
                behind = max(0, self._retrying - count)
                written = self._written if behind else self.added - len(self._items)
                batch = merged(batch, self._layer)
                if not batch:
                    continue
                left = await self._write(batch)
                if left:
                    self._items[:0] = left
                    self._retrying = len(left) + behind
                    await asyncio.sleep(retries.next())
                else:
                    self._retrying, self._written = behind, written
                    self._wake_waiting()
                    retries.reset()
                if self._room is not None and self._bytes <= ROOM_BYTES:
                    self._room.set_result(None)
                    self._room = None
        finally:
            self._task = None

    def _recount(self, left: Sequence[Outgoing] = ()) -> None:
        self._bytes = sum(len(item.body) + OVERHEAD for item in (*left, *self._items))

    def _without_frame(self, item: Outgoing) -> Outgoing:
        """The rest of a message: heard twice it does no harm, never heard it holds a connection up.

        That includes what accepts or closes the connection: a client that is to connect again must not hear of a normal
        end.
        """
        message = unpack_body(item.body)
        if item.headers is None:
            return self._layer.prepare(item.target, {**message, "reply": without_frame(message["reply"])})
        rest = without_frame(message)
        return Outgoing(item.target, pack_body(rest) if rest else EMPTY, item.headers)

    async def _write(self, batch: list[Outgoing]) -> list[Outgoing]:
        """Write a batch; returns what has to be tried again."""
        error: LayerUnavailable | None = None
        refused: list[Outgoing] = []
        try:
            refused = await self._layer.asend_batch(batch)
        except Exception as failure:
            error = failure if isinstance(failure, LayerUnavailable) else None
            if error is None:
                logger.exception("sending messages of hosted applications failed")
                error = LayerUnavailable(self._layer.describe(), repr(failure))
            logger.warning("messages of hosted applications are held up: %s", clause(error))
        if error is None and not refused:
            self._recount()
            return []
        left, lost = [], 0
        for item, fate in zip(batch, fates(batch, refused, error), strict=True):
            if fate in (Fate.UNSENT, Fate.FULL):
                left.append(item)
            if fate is Fate.UNKNOWN:
                rest = self._without_frame(item)
                lost += len(rest.body) != len(item.body)
                left.append(rest)
        self._recount(left)
        if lost:
            logger.error("%d messages of hosted applications may be lost: %s", lost, error)
        return left


def without_frame(reply: Message) -> Message:
    """A message to a connection without what it has for the client to read."""
    return {key: value for key, value in reply.items() if key not in ("text", "bytes")}


def merged(batch: list[Outgoing], layer: ChannelLayer) -> list[Outgoing]:
    """Put equal messages to connections of one interface server together, so that it encodes them once.

    The order of the messages to each single connection stays.
    """
    places: dict[tuple[str, bytes], int] = {}
    together: dict[int, list[_Address]] = {}
    joined: list[int] = []
    last: dict[str, int] = {}
    for position, item in enumerate(batch):
        target, body, headers = item.target, item.body, item.headers
        before = last.get(target, -1)
        last[target] = position
        if body == EMPTY or headers is None or not headers.keys() <= PLAIN:
            continue
        process, _, local = target.partition("!")
        place = places.setdefault((process, body), position)
        if place == position or place < before:
            places[process, body] = position
            continue
        if place not in together:
            together[place] = [_address(batch[place])]
        together[place].append((local, headers.get("epoch", 0), headers.get("turn", 0)))
        joined.append(position)
        last[target] = place
    result: list[Outgoing | None] = [*batch]
    for place, addresses in together.items():
        item = batch[place]
        try:
            content = {"reply": unpack_body(item.body), "to": addresses}
            result[place] = layer.prepare(split(item.target)[0] + SHARED, content)
        except MessageTooLarge:
            return batch
    for position in joined:
        result[position] = None
    return [one for one in result if one is not None]


def _address(item: Outgoing) -> _Address:
    headers = item.headers or {}
    return item.target.partition("!")[2], headers.get("epoch", 0), headers.get("turn", 0)
