"""Messages of hosted applications on their way to the connections: one write for all that gathered meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from channel_layer.backoff import Backoff
from channel_layer.codec import EMPTY, pack_body, unpack_body
from channel_layer.delivery import SHARED, Message, Outgoing
from channel_layer.exceptions import LayerUnavailable, MessageTooLarge, clause
from channel_layer.layer import ChannelLayer
from channel_layer.names import split
from channel_layer.outcome import Fate, fates

from .batches import OVERHEAD, fitting

logger = logging.getLogger(__name__)

ROOM_BYTES = 4_194_304
"""Bytes that may wait here before applications have to."""

FIRST_RETRY, LAST_RETRY = 0.02, 1.0

Address: TypeAlias = tuple[str, int, int]
"""A connection in a message to several: the local part of its name, its epoch, and the number of the last event that is
done; 0 if that is not news."""


class Speaker(Protocol):
    """An instance that has something to say at the next write."""

    def last_words(self) -> Outgoing | None:
        """Add to a message that is about to be written, or return one to be written behind all others."""

    def wake(self) -> None:
        """More has been written."""


class Said:
    """A frame that is not written yet: equal ones for other connections of the same interface server join it.

    So it is encoded once, by this process and by that one.

    Attributes:
        item: the frame for the first connection, who has it alone as long as there is one address.
        number: of the message among all of its outlet.
        addresses: of the connections; ``None`` for one that was taken out.
    """

    __slots__ = ("addresses", "item", "number")

    def __init__(self, item: Outgoing, number: int) -> None:
        self.item = item
        self.number = number
        self.addresses: list[Address | None] = []

    @property
    def is_shared(self) -> bool:
        """True if others have joined the first one."""
        return len(self.addresses) > 1

    def end_turn(self, place: int, turn: int) -> None:
        """Say with it, to the connection with an address, which event is done."""
        address = self.addresses[place]
        assert address is not None
        self.addresses[place] = (address[0], address[1], turn)

    def take_out(self, place: int) -> Outgoing:
        """The frame for the connection with an address, which is to get it by itself."""
        address, self.addresses[place] = self.addresses[place], None
        assert address is not None
        if place == 0:
            return self.item
        return Outgoing(split(self.item.target)[0] + address[0], self.item.body, {"epoch": address[1]})

    def messages(self, layer: ChannelLayer) -> list[Outgoing]:
        """The messages to be written: one for all, unless that is too large."""
        addresses = [one for one in self.addresses if one is not None]
        server, body = split(self.item.target)[0], self.item.body
        if len(addresses) > 1:
            try:
                return [layer.prepare(server + SHARED, {"reply": unpack_body(body), "to": addresses})]
            except MessageTooLarge:
                pass
        return [Outgoing(server + local, body, {"epoch": epoch, "turn": turn}) for local, epoch, turn in addresses]


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
        self._open: dict[tuple[str, str | bytes], Said] = {}
        self._shared: list[Said] = []

    @property
    def is_idle(self) -> bool:
        """True if nothing waits and nothing is being written."""
        return self._task is None

    @property
    def is_crowded(self) -> bool:
        """True while applications have to wait for `room`."""
        return self._bytes > ROOM_BYTES

    def say(self, speaker: Speaker, server: str, channel: str, epoch: int, frame: Message, after: int) -> Said:
        """Write a frame for a connection with the next batch, before which the speaker is asked; returns at once.

        Args:
            speaker: whose frame it is.
            server: the part of the name that all connections of the interface server have in common.
            channel: name of the connection.
            epoch: of the instance.
            frame: ``text`` or ``bytes``, and nothing else.
            after: the number of the last message to this connection, in front of which the frame must not come.

        Returns:
            the frame, with the address of this connection as the last one.

        Raises: as `ChannelLayer.prepare`.
        """
        [content] = frame.values()
        said = self._open.get((server, content))
        if said is None or said.number <= after:
            item = self._layer.prepare(channel, frame, {"epoch": epoch})
            self._append(item)
            said = self._open[server, content] = Said(item, self.added)
        else:
            if len(said.addresses) == 1:
                self._shared.append(said)
            self._bytes += OVERHEAD
        said.addresses.append((channel[len(server) :], epoch, 0))
        self.ask(speaker)
        return said

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
                self._close_frames()
                count = fitting(self._items)
                batch, self._items = self._items[:count], self._items[count:]
                # One that is tried again may stand for several, which cannot be counted before it is written.
                behind = max(0, self._retrying - count)
                written = self._written if behind else max(self._written, self.added - len(self._items))
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

    def _close_frames(self) -> None:
        """Let nothing join the frames from here on, and put those that are for several into their places."""
        self._open.clear()
        if self._shared:
            end = len(self._items) - self.added - 1
            messages = {end + said.number: said.messages(self._layer) for said in self._shared}
            self._shared.clear()
            self._items = [one for place, item in enumerate(self._items) for one in messages.get(place, (item,))]

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


def is_frame(message: Message) -> bool:
    """True if a message to a connection has a frame for the client and says nothing else."""
    return len(message) == 1 and ("text" in message or "bytes" in message)


def without_frame(reply: Message) -> Message:
    """A message to a connection without what it has for the client to read."""
    return {key: value for key, value in reply.items() if key not in ("text", "bytes")}
