"""Flow control: send a long response no faster than its connection takes it over.

The first message of such a response names an address of this worker. There the connection reports how many
bytes it has taken over, and that its client has left. See docs/reference/messages.md, "flow".
"""

from __future__ import annotations

import asyncio
import threading
import time

from channel_layer.backoff import Backoff
from channel_layer.channel import AnswerableMessage
from channel_layer.delivery import Headers, Message, Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, LayerUnavailable
from channel_layer.messages import ResponseChunk
from workers.streams import current_streams

MAX_IN_FLIGHT = 2 * 1024 * 1024
"""Window: most bytes that are sent beyond those the connection has reported as taken over."""

STALL_SECONDS = 90.0
"""Time without progress that ends a response: the connection has shorter limits, so it must be gone."""

LOOK_SECONDS = 1.0
"""Time between two looks of a waiting thread whether its worker stops."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.5
"""Back-off in seconds between attempts to send while the channel is full or the layer is away."""

BROKEN_OFF: ResponseChunk = {"content": b"", "more_content": True, "closed": True}
"""The last message of a response that cannot be completed; ``closed`` as in the chunks of a request's body."""


class ClientGone(Exception):
    """The client of a response has left."""


class BrokenOff(Exception):
    """The worker stops and cannot wait for the end of this response."""


class Flow:
    """Progress of the connection of one response; its reports arrive on the worker's event loop.

    Outside a worker, or if the sender of the request reports nothing, only the channel's capacity limits a response.

    Args:
        message: the request's message.
    """

    def __init__(self, message: AnswerableMessage) -> None:
        self._name = message.reply_channel.name
        self._layer = message.channel_layer
        self._sent = 0
        self._written = 0
        self.is_gone = False
        self.streams = streams = current_streams.get()
        self._address = (
            streams.inbox.open(self._deliver, self._name) if streams is not None and "flow" in message.headers else None
        )
        self._headers: Headers | None = None if self._address is None else {"flow": self._address.channel}

    @property
    def written(self) -> int:
        """Bytes that the connection has taken over."""
        return self._written

    def close(self) -> None:
        """Close the address for reports."""
        if self._address is not None:
            self._address.close()

    def prepare(self, reply: ResponseChunk) -> Outgoing:
        """Encode a message; the first one names the address for reports."""
        item = self._layer.prepare(self._name, reply, self._headers)
        self._headers = None
        return item

    def count(self, size: int) -> None:
        """Count bytes of content that were sent."""
        self._sent += size

    def has_room(self, size: int) -> bool:
        """Tell if a message of this size fits into the window. A single one always does, regardless of its size.

        Raises:
            ClientGone: the client has left.
        """
        if self.is_gone:
            raise ClientGone("the client went away")
        in_flight = self._sent - self._written
        return self._address is None or in_flight <= 0 or in_flight + size <= MAX_IN_FLIGHT

    def changed(self) -> None:
        """Take note of a report. Called on the event loop; must not block."""

    def _deliver(self, report: Message, headers: Headers | None) -> None:
        written = report.get("written")
        if isinstance(written, int):
            self._written = max(self._written, written)
        if report.get("closed"):
            self.is_gone = True
        self.changed()


class _Patience:
    """A deadline that each progress renews, and the pauses until then.

    Raises:
        ClientGone: from `check`, when nothing has moved for `STALL_SECONDS`.
    """

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._deadline = time.monotonic() + STALL_SECONDS
        self._pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)

    def check(self) -> None:
        if time.monotonic() > self._deadline:
            raise ClientGone(f"{self._complaint} for {STALL_SECONDS:g} seconds")

    def renew(self) -> None:
        self._deadline = time.monotonic() + STALL_SECONDS

    def next_pause(self) -> float:
        self.check()
        return self._pauses.next()


_TAKES_NOTHING = "its connection has taken nothing"
_REFUSED = "its channel has been full or away"


class PacedSender(Flow):
    """Sends the messages of one response from a thread, each before `send` returns.

    Args:
        message: the request's message.
        is_finite: whether the response has a known end, and so may go on while the worker stops.
    """

    def __init__(self, message: AnswerableMessage, is_finite: bool = False) -> None:
        self._progress = threading.Condition()
        self._is_finite = is_finite
        super().__init__(message)
        self._done = self.streams.in_thread(self.break_off) if self.streams is not None else lambda: None

    def close(self) -> None:
        """See `Flow.close`."""
        super().close()
        self._done()

    def send(self, reply: ResponseChunk) -> None:
        """Send one message, waiting for room first.

        Raises:
            ClientGone: the client has left, or nothing has moved for `STALL_SECONDS`.
            BrokenOff: the worker stops.
            LayerUnavailable: the message may be lost.
        """
        size = len(reply["content"])
        if not self._may_send(size):
            self._wait_for_room(size)
        self._put(self.prepare(reply))
        self.count(size)

    def break_off(self) -> None:
        """Have the connection cut, so that a shorter response does not pass for a whole one. Never raises."""
        try:
            self._layer.send_batch([self.prepare(BROKEN_OFF)])
        except ChannelLayerError:
            pass  # what keeps the layer from being told is reported by those who need it more

    def changed(self) -> None:
        """See `Flow.changed`."""
        with self._progress:
            self._progress.notify_all()

    def _may_send(self, size: int) -> bool:
        if self.streams is not None:
            # A long response is no consumer that hangs, and the waiting here has limits of its own.
            self.streams.progress[threading.get_ident()] = time.perf_counter()
            if self.streams.is_winding_up and not self._is_finite:
                raise BrokenOff("the worker stops")
        return self.has_room(size)

    def _wait_for_room(self, size: int) -> None:
        patience = _Patience(_TAKES_NOTHING)
        with self._progress:
            while not self._may_send(size):
                before = self._written
                self._progress.wait(min(LOOK_SECONDS, STALL_SECONDS))
                if self._written != before:
                    patience.renew()
                else:
                    patience.check()

    def _put(self, item: Outgoing) -> None:
        patience = _Patience(_REFUSED)
        while not self._is_put(item):
            time.sleep(patience.next_pause())
            self._may_send(0)

    def _is_put(self, item: Outgoing) -> bool:
        try:
            return not self._layer.send_batch([item])
        except (ChannelFull, LayerUnavailable) as error:
            if _may_be_stored(error):
                raise
            return False


class AsyncPacedSender(Flow):
    """`PacedSender` for a coroutine on the worker's event loop.

    When the client leaves, the task that has made this object is cancelled.
    """

    def __init__(self, message: AnswerableMessage) -> None:
        self._progress = asyncio.Event()
        self._task = asyncio.current_task()
        super().__init__(message)

    async def send(self, reply: ResponseChunk) -> None:
        """Send one message, waiting for room first.

        Raises:
            ClientGone: nothing has moved for `STALL_SECONDS`.
            LayerUnavailable: the message may be lost.
        """
        size = len(reply["content"])
        if not self.has_room(size):
            await self._wait_for_room(size)
        await self._put(self.prepare(reply))
        self.count(size)

    async def send_at_all(self, reply: ResponseChunk) -> None:
        """Try once to send the last message of a response that failed. Never raises."""
        try:
            await self._send(self.prepare(reply))
        except ChannelLayerError:
            pass  # as there

    def changed(self) -> None:
        """See `Flow.changed`."""
        self._progress.set()
        if self.is_gone and self._task is not None:
            self._task.cancel()
            self._task = None  # once: what it does about it must not be cancelled, too

    async def _wait_for_room(self, size: int) -> None:
        patience = _Patience(_TAKES_NOTHING)
        while not self.has_room(size):
            before = self._written
            self._progress.clear()
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._progress.wait()
            except TimeoutError:
                pass
            if self._written != before:
                patience.renew()
            else:
                patience.check()

    async def _put(self, item: Outgoing) -> None:
        patience = _Patience(_REFUSED)
        while True:
            if await self._is_put(item):
                return
            await asyncio.sleep(patience.next_pause())

    async def _is_put(self, item: Outgoing) -> bool:
        try:
            await self._send(item)
        except (ChannelFull, LayerUnavailable) as error:
            if _may_be_stored(error):
                raise
            return False
        return True

    async def _send(self, item: Outgoing) -> None:
        if self.streams is not None:
            await self.streams.sender.send(item)
        elif await self._layer.asend_batch([item]):
            raise ChannelFull(item.target)


def _may_be_stored(error: ChannelFull | LayerUnavailable) -> bool:
    """Tell if the message may have been stored in spite of the error, and must not be sent again."""
    return isinstance(error, LayerUnavailable) and error.uncertain
