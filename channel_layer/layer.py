"""The contract of a channel layer.

A layer carries messages on named channels between processes and keeps groups of channels. What it
promises (ASGI 1 draft, "Channels", "Groups", "Strong Ordering", and this project's architecture):

* **At most once.** A message is handed to one receiver, once, or is lost; never twice. A layer never
  repeats a send or a receive whose outcome it does not know; it counts it in `Counters`.
* **Order.** Messages of one channel reach a single receiver in the order in which they were sent.
* **Expiry.** A message not received within ``expiry`` seconds is gone.
* **Capacity.** A channel holds so many messages; beyond it `ChannelFull`.
* **Fairness.** A receiver that names several channels serves them all, however busy one is.
* **No aliasing.** Messages are encoded when they are handed over.
* **Last wills** (with the extension ``last_wills``). What a process left to be sent in case it disappears is sent by
  the other processes that receive messages, once: within 50 seconds, if ``presence`` is 30, as far as there is room.
  See `channel_layer.delivery.LastWill`.
* **Reports** (with the extension ``reports``). The last report of each process, for as long as it was to be kept.
* **Inspection** (with the extension ``inspection``). What waits on a channel and who is in which group, taking nothing.

There is one sync and one async side. Sync calls may be made from any thread and may block as long as
the layer's timeouts allow. Async calls may be made from several event loops at the same time, each in a
thread of its own; what one of them holds is released by `ChannelLayer.aclose` in that loop. Cancelling an async send
leaves open whether it happened; cancelling an async receive may lose what it was about to return.

A backend subclasses `ChannelLayer` and fills in the abstract methods: moving frames in batches, and
the shared record of memberships. Everything else is here. `channel_layer.conformance` tests it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

from . import codec, inspection, names, tracing
from .capacity import CapacityRules
from .copies import Copies
from .delivery import Content, Delivery, Headers, LargeBody, Message, Outgoing
from .elements import MAX_ELEMENTS, has_more_elements
from .exceptions import ChannelFull, LayerConfigurationError, MessageTooLarge, TooManyElements
from .exchange import Exchange
from .inspection import INSPECTION, GroupMembers, GroupSizes, Look, Waiting
from .members import MembershipIndex
from .reports import KEEP_SECONDS, REPORTS, Report

BLOCK_SECONDS = 5.0
"""Longest wait of ``receive(block=True)`` before it returns ``(None, None)``."""


Statistics: TypeAlias = dict[str, float]
"""Figures by their names in the ASGI 1 draft."""


@dataclass
class Counters:
    """Counts of messages that this layer object lost or dropped since it was made. May be read at any time."""

    expired: int = 0
    bad_frames: int = 0
    possible_losses: int = 0
    group_full: int = 0


class ChannelLayer(ABC):
    """Base class of every layer.

    Args:
        expiry: seconds a message waits for a receiver.
        group_expiry: seconds a membership lasts unless it is renewed by adding again.
        capacity: messages a channel may hold.
        channel_capacity: name, glob or compiled regular expression → capacity; first match wins.
        max_message_size: bytes of an encoded message.
        presence: seconds after which a process that reads channels of its own, and gave no heartbeat, is passed
            over by messages to groups. It gives one several times in that time. After a third more its last wills
            are carried out.

    Raises:
        LayerConfigurationError: for a value that cannot work, with its name.
    """

    ChannelFull: ClassVar[type[ChannelFull]] = ChannelFull
    MessageTooLarge: ClassVar[type[MessageTooLarge]] = MessageTooLarge

    extensions: list[str] = ["groups", "flush", "statistics", "async"]

    local_only: bool = False
    """True if the layer reaches no further than this process."""

    def __init__(
        self,
        *,
        expiry: float = 60,
        group_expiry: int = 86_400,
        capacity: int = 10_000,
        channel_capacity: Mapping[Any, int] | None = None,
        max_message_size: int = 1_310_720,
        presence: float = 30,
    ) -> None:
        self.expiry = _seconds("expiry", expiry)
        self.group_expiry = _seconds("group_expiry", group_expiry)
        self.max_message_size = int(_seconds("max_message_size", max_message_size))
        self.presence = _seconds("presence", presence)
        self.max_frame_size = self.max_message_size + 65_536
        self.capacity = CapacityRules(capacity, channel_capacity)
        self.counters = Counters()
        self.index = MembershipIndex()
        self._copies = Copies()
        self._last_will_watchers: dict[str, Callable[[Collection[str]], None]] = {}

    async def __call__(self, scope: Mapping[str, Any], receive: Any = None, send: Any = None) -> None:
        """Explain to a server that takes this for an ASGI application that it is none.

        Raises:
            TypeError: always, but at the start of a server that asks: it is told to fail with the same sentence.
        """
        text = (
            "this is a channel layer and no ASGI application. Serve it with daphne (daphne project.asgi:channel_layer) "
            "or give this server what channels.asgi.get_asgi_application() returns"
        )
        if scope.get("type") != "lifespan":
            raise TypeError(text)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": text})

    # -- one message at a time -------------------------------------------------------------------

    def send(self, channel: str, message: Content) -> None:
        """Send one message.

        Raises:
            ChannelFull: the channel is at capacity.
            MessageTooLarge, InvalidName, InvalidMessage: nothing was sent.
            LayerUnavailable: it was not sent, or, if ``uncertain``, may have been.
        """
        if self.send_batch([self.prepare(channel, message)]):
            raise ChannelFull(channel)

    async def asend(self, channel: str, message: Content) -> None:
        """Async form of `send`.

        Raises:
            ChannelFull, MessageTooLarge, InvalidName, InvalidMessage, LayerUnavailable: as `send` does.
        """
        if await self.asend_batch([self.prepare(channel, message)]):
            raise ChannelFull(channel)

    def send_group(self, group: str, message: Content) -> None:
        """Send to every member of a group; members whose channel is full miss it (counted).

        Raises:
            MessageTooLarge, InvalidName, InvalidMessage: nothing was sent.
            LayerUnavailable: it was sent to nobody, or, if ``uncertain``, perhaps to some.
        """
        self.send_batch([self.prepare(group, message, group=True)])

    async def asend_group(self, group: str, message: Content) -> None:
        """Async form of `send_group`."""
        await self.asend_batch([self.prepare(group, message, group=True)])

    def receive(self, channels: Sequence[str], block: bool = False) -> tuple[str | None, Message | None]:
        """Receive one message from any of the channels.

        Process-specific channels are named up to and including their ``!``. A message to a group
        comes once for each member. Do not mix with the batch forms on the same channel.

        Returns:
            (full channel name, message), or (None, None) if there is none. With ``block`` it waits
            up to `BLOCK_SECONDS` first.

        Raises:
            InvalidName: of a channel, or ``channels`` is not a list.
            LayerUnavailable: the broker cannot be reached; a message may be lost if ``uncertain``.
        """
        names.check_receivers(channels)
        ready = self._copies.take(channels)
        if ready is None:
            ready = self._copies.first_of(self.receive_batch(channels, limit=1, timeout=BLOCK_SECONDS if block else 0))
        return ready if ready is not None else (None, None)

    def receive_many(self, channels: Sequence[str], block: bool = False) -> tuple[str | None, Message | None]:
        """Receive one message: the name that `receive` had in the first drafts of ASGI, kept for code that calls it.

        `receive_batch` takes several.
        """
        return self.receive(channels, block)

    async def areceive(
        self, channels: Sequence[str], timeout: float = BLOCK_SECONDS
    ) -> tuple[str | None, Message | None]:
        """Async form of `receive`; waits up to ``timeout`` seconds."""
        names.check_receivers(channels)
        ready = self._copies.take(channels)
        if ready is None:
            ready = self._copies.first_of(await self.areceive_batch(channels, limit=1, timeout=timeout))
        return ready if ready is not None else (None, None)

    def new_channel(self, pattern: str) -> str:
        """Make a new, unguessable channel name for a pattern that ends with ``!`` or ``?``.

        Raises:
            InvalidName: the pattern does not end so, or has other characters than names.
        """
        return names.new_name(pattern)

    def prepare(
        self,
        target: str,
        message: Content,
        headers: Headers | None = None,
        group: bool = False,
    ) -> Outgoing:
        """Check and encode a message for the batch forms. Does no I/O.

        Raises:
            InvalidName: of the target.
            InvalidMessage: it is not a dict, or holds a value that cannot be carried.
            MessageTooLarge: encoded it has more than ``max_message_size`` bytes, or too many elements.
        """
        (names.check_group if group else names.check_channel)(target)
        body = codec.pack_pieces(message, target)
        if len(body) > self.max_message_size:
            raise MessageTooLarge(target, len(body), self.max_message_size)
        counted = body.head if type(body) is LargeBody else body
        if len(counted) > MAX_ELEMENTS and has_more_elements(counted, MAX_ELEMENTS):
            raise TooManyElements(target, len(body), MAX_ELEMENTS)
        return Outgoing(target, body, tracing.stamp(headers) if tracing.is_on else headers, group)

    # -- batches: what a backend provides --------------------------------------------------------

    @abstractmethod
    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """Send prepared messages, in order per channel.

        Returns:
            Those refused because their channel is full. If one message for a channel is refused, so
            are all later ones of the batch for that channel: order is kept when they are sent again.
            Messages to groups are never refused. The last will of a refused message changes nothing. A message that
            withdraws a last will is dropped in silence if others have carried that will out.

        Raises:
            LayerUnavailable: some or all of them were not sent, or may not have been; `channel_layer.outcome.fates`
                says which. A message to a group that reached some of its members and not others is of unknown fate.
        """

    @abstractmethod
    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """Async form of `send_batch`."""

    @abstractmethod
    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """Receive up to ``limit`` messages, all from one of the channels.

        Args:
            channels: names to receive from; process-specific ones up to and including ``!``.
            limit: most messages to take. What is taken is this caller's to deal with.
            timeout: seconds to wait for the first message; 0 does not wait.

        Returns:
            What was there, oldest first; empty after the timeout, after `interrupt`, or if all that
            was taken had expired.

        Raises:
            InvalidName: of a channel, or ``channels`` is not a list.
            LayerUnavailable: the broker cannot be reached; messages may be lost if ``uncertain``.
        """

    @abstractmethod
    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """Async form of `receive_batch`."""

    async def astop_receiving(self, channels: Sequence[str]) -> None:  # noqa: B027 - a backend need not have it
        """Leave what comes on these channels from now on to other processes, until somebody receives on them again.

        An `areceive_batch` may leave a wait behind, whose message is for the next one in this event loop. That wait is
        ended here, and what it took is put back. To call when no receive on the channels is under way.
        """

    def begin_exchange(
        self, items: Sequence[Outgoing], channels: Sequence[str], limit: int = 1, timeout: float = 0
    ) -> Exchange:
        """Send prepared messages and then receive: `send_batch` and `receive_batch` in one, for receivers that answer.

        When this returns the messages are on their way. How that ended, and what is received, `Exchange.finish`
        says, which does the waiting; until then this thread makes no other call to the layer.

        Args:
            items: as for `send_batch`, at least one.
            channels, limit, timeout: as for `receive_batch`.

        Raises:
            InvalidName: of a channel, or ``channels`` is not a list; nothing was sent.
        """
        names.check_receivers(channels)
        return Exchange(self, items, channels, limit, timeout)

    def interrupt(self) -> None:  # noqa: B027 - a backend need not have it
        """Make `receive_batch` calls that wait in other threads return soon, losing nothing.

        Calls that start afterwards are not affected. A backend without this waits for the timeout.
        """

    def beside_others(self) -> None:  # noqa: B027 - a backend that never waits long need not have it
        """Learn that this process uses other layers, too, which a wait for this one's broker would hold up.

        From then on, while the broker is down, calls should fail at once.
        """

    def put_back(self, channel: str, items: Sequence[Delivery]) -> None:
        """Put received messages that nobody has touched back to the front of ``channel``.

        For a receiver that took several at once and cannot get to them. They keep their order, their
        headers and the time at which they expire. Capacity does not apply: they had their place.

        Raises:
            InvalidName: of the channel.
            LayerUnavailable: they are not there, or, if ``uncertain``, may be.
        """
        outgoing = [self.prepare(channel, item.message, item.headers) for item in items]
        self._put_front(channel, outgoing, [item.expires for item in items])

    @abstractmethod
    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        """Store prepared messages at the front of a channel, the first of them foremost.

        Args:
            expires: `Delivery.expires` of each; without one it is ``expiry`` seconds from now.
        """

    async def aoldest_age(self, channel: str) -> float | None:
        """Seconds since the oldest message that waits on a channel was stored, by the broker's clock; 0 if none waits.

        As a channel is read in order, what was stored longer ago has been taken by a receiver, or has expired.
        One that has expired may count as waiting until somebody would have received it. It may be wrong by a second.

        Returns:
            ``None`` if the layer cannot tell.

        Raises:
            LayerUnavailable: the broker cannot be reached.
        """
        return None

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """Seconds that each of the messages of one channel, just received, has waited there.

        Those of which the layer cannot tell are left out. Messages that were put back have waited since they were sent.
        """
        return []

    # -- groups ----------------------------------------------------------------------------------

    @abstractmethod
    def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, or renew its membership for ``group_expiry`` seconds.

        Raises:
            InvalidName: of the group or the channel.
            LayerUnavailable: the broker cannot be reached; it may have happened nevertheless if ``uncertain``.
        """

    @abstractmethod
    async def agroup_add(self, group: str, channel: str) -> None:
        """Async form of `group_add`."""

    @abstractmethod
    def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group; no error if it was not in it.

        Raises:
            InvalidName: of the group or the channel.
            LayerUnavailable: the broker cannot be reached; it may have happened nevertheless if ``uncertain``.
        """

    @abstractmethod
    async def agroup_discard(self, group: str, channel: str) -> None:
        """Async form of `group_discard`."""

    @abstractmethod
    def group_channels(self, group: str) -> list[str]:
        """Full names of all members, in no order.

        Raises:
            InvalidName: of the group.
            LayerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    async def aforget(self, channels: Iterable[str]) -> None:
        """Remove process-specific channels that are gone from every group their process knows.

        For the process that reads them, when connections close. Local at once, in the shared record
        when the call returns.

        Raises:
            LayerUnavailable: the broker cannot be reached; some memberships may remain until they expire.
        """

    # -- last wills ------------------------------------------------------------------------------

    def watch_last_wills(self, reader: str, told: Callable[[Collection[str]], None]) -> None:
        """Ask to be told when this process was taken for gone, or when the layer has lost its data.

        ``told`` is called, in any thread, with the local parts of those channels of ``reader`` whose last wills have
        been carried out (also with some it was called with before). All others are to be left again.
        It must not block. The process has to receive from ``reader``: that is its heartbeat.
        """
        self._last_will_watchers[reader] = told

    def _tell_of_last_wills(self, reader: str, carried_out: Collection[str]) -> None:
        told = self._last_will_watchers.get(reader)
        if told is not None:
            told(carried_out)

    # -- reports ---------------------------------------------------------------------------------

    def publish_report(self, name: str, content: Content, seconds: float = KEEP_SECONDS) -> None:
        """Keep a report of the process ``name`` for so many seconds, in place of the one before.

        Raises:
            InvalidName, InvalidMessage: of the process, of the report; nothing was kept.
            LayerUnavailable: it is not kept, or, if ``uncertain``, may be.
            NotImplementedError: the layer lacks the extension.
        """
        self._put_report(names.check_group(name), codec.pack_body(content), seconds)

    async def apublish_report(self, name: str, content: Content, seconds: float = KEEP_SECONDS) -> None:
        """Async form of `publish_report`."""
        await self._aput_report(names.check_group(name), codec.pack_body(content), seconds)

    def reports(self) -> list[Report]:
        """The last report of each process, in no order; those that cannot be read are left out.

        Raises:
            LayerUnavailable: the broker cannot be reached. Of several servers those that can be reached are asked.
            NotImplementedError: the layer lacks the extension.
        """
        return self._open_reports(self._kept_reports())

    async def areports(self) -> list[Report]:
        """Async form of `reports`."""
        return self._open_reports(await self._akept_reports())

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        """Keep an encoded report."""
        raise self._lacks(REPORTS)

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        """Async form of `_put_report`."""
        raise self._lacks(REPORTS)

    def _kept_reports(self) -> Iterable[tuple[str, bytes | None, float]]:
        """Name, encoded report and age of each that is kept; ``None`` for one that cannot be opened."""
        raise self._lacks(REPORTS)

    async def _akept_reports(self) -> Iterable[tuple[str, bytes | None, float]]:
        """Async form of `_kept_reports`."""
        raise self._lacks(REPORTS)

    def _open_reports(self, kept: Iterable[tuple[str, bytes | None, float]]) -> list[Report]:
        reports = []
        for name, data, age in kept:
            try:
                if data is None:
                    raise codec.InvalidFrame("it cannot be opened")
                reports.append(Report(name, codec.unpack_body(data), age))
            except codec.InvalidFrame:
                self.counters.bad_frames += 1
        return reports

    # -- inspection ------------------------------------------------------------------------------

    def peek(self, channel: str, limit: int = 10, newest: bool = False) -> list[Waiting]:
        """The messages that wait on a channel, oldest first. They stay where they are.

        Args:
            channel: as `receive` names it: a process-specific one up to and including its ``!``.
            limit: most messages to look at. There may be fewer, because of large ones, `inspection.MOST_BYTES`, or of
                what tells of memberships in between.
            newest: look at those that were sent last, in place of the first.

        Raises:
            InvalidName: of the channel.
            LayerUnavailable: the broker cannot be reached.
            NotImplementedError: the layer lacks the extension.
        """
        names.check_receive(channel)
        return inspection.opened(channel, self._look(channel, limit, newest), self.max_frame_size)

    def group_sizes(self, limit: int = 100) -> GroupSizes:
        """The largest groups. Groups that change meanwhile may be counted as before or as afterwards.

        Raises:
            LayerUnavailable: the broker cannot be reached.
            NotImplementedError: the layer lacks the extension.
        """
        return self._group_sizes(limit)

    def group_members(self, group: str, limit: int = 1000) -> GroupMembers:
        """The number of members of a group, and some of them; `group_channels` names all, however many.

        Raises:
            InvalidName: of the group.
            LayerUnavailable: the broker cannot be reached.
            NotImplementedError: the layer lacks the extension.
        """
        return self._group_members(names.check_group(group), limit)

    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        """Elements at one end of a queue, oldest first, until `inspection.MOST_BYTES` are reached."""
        raise self._lacks(INSPECTION)

    def _group_sizes(self, limit: int) -> GroupSizes:
        """See `group_sizes`."""
        raise self._lacks(INSPECTION)

    def _group_members(self, group: str, limit: int) -> GroupMembers:
        """See `group_members`."""
        raise self._lacks(INSPECTION)

    # -- the rest --------------------------------------------------------------------------------

    @abstractmethod
    def flush(self) -> None:
        """Remove all messages, groups and statistics of this layer (of its prefix, not more).

        Raises:
            LayerUnavailable: the broker cannot be reached; a part may be removed.
        """

    @abstractmethod
    def global_statistics(self) -> Statistics:
        """``messages_count``, ``messages_count_per_second``, ``channel_full_count`` of all channels.

        Raises:
            LayerUnavailable: the broker cannot be reached.
        """

    @abstractmethod
    def channel_statistics(self, channel: str) -> Statistics:
        """The same for one channel, and ``messages_pending``, ``messages_max_age`` (seconds).

        Raises:
            InvalidName: of the channel.
            LayerUnavailable: the broker cannot be reached.
        """

    def check(self) -> None:  # noqa: B027 - a backend need not have it
        """Reach for the broker once. Blocks for at most the connect timeout.

        Raises:
            LayerUnavailable: it cannot be reached.
            LayerConfigurationError: it was reached and cannot be used, for example its version.
        """

    def close(self) -> None:  # noqa: B027 - a backend need not have it
        """Release what the sync side holds. The layer can be used again afterwards."""

    async def aclose(self) -> None:  # noqa: B027 - a backend need not have it
        """Release what the async side holds in this event loop."""

    def describe(self) -> str:
        """Describe the place of this layer for start-up lines and logs, without passwords."""
        return type(self).__name__

    # -- shared by the backends ------------------------------------------------------------------

    def _lacks(self, extension: str) -> NotImplementedError:
        return NotImplementedError(f"the channel layer {self.describe()} has no extension {extension!r}")

    def open_frames(self, reader: str, frames: Iterable[tuple[bytes | memoryview, float]]) -> list[Delivery]:
        """Turn frames taken from ``reader``'s queue, each with the time it expires, into deliveries.

        Expired ones are gone already.
        """
        deliveries = []
        limit = self.max_frame_size
        unpack = codec.unpack_frame
        has_locals = reader.endswith("!")
        for data, expires in frames:
            try:
                kind, address, content, rest = unpack(data, limit)
                if (kind == codec.DIRECT and not address) == has_locals:
                    raise codec.InvalidFrame("its address does not fit the channel it lies on")
            except codec.InvalidFrame:
                self.counters.bad_frames += 1
                continue
            if kind == codec.DIRECT:
                deliveries.append(Delivery(reader + address, content, rest, None, expires))
            elif kind == codec.GROUP:
                members = self.index.members(reader, address)
                if members:
                    deliveries.append(Delivery(reader, content, rest, members))
            elif kind == codec.JOIN:
                self.index.join(reader, address, content, rest if isinstance(rest, (int, float)) else self.group_expiry)
            else:
                self.index.leave(reader, address, content)
        return deliveries


_Number = TypeVar("_Number", bound=float)


def _seconds(name: str, value: _Number) -> _Number:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise LayerConfigurationError(f"{name} must be a number above 0, not {value!r}")
    return value
