"""An adapter for layers that were written for Channels 1: the contract of this package over the ASGI 1 draft's.

The draft (https://channels.readthedocs.io/en/1.x/asgi.html, and ``asgiref`` 1.1) has one message per call, nothing
for coroutines, no headers and nothing like a last will. So a receiver that waits asks again and again, with pauses
that grow to `LONGEST_PAUSE`; async calls run in two threads of the adapter; and headers travel inside the message,
under `ENVELOPE`. A message to a group is one message per member. What the draft cannot give is missing in
`ChannelLayer.extensions`, or answered with ``None``:

* no last wills, no ``presence``: nobody notices that a process has disappeared;
* `ChannelLayer.aoldest_age` cannot tell;
* what is put back goes to the end of its channel, and is lost if that is full;
* how many members of a group were full is not counted.

Order, expiry and capacity are what the draft layer makes of them. It is called from several threads at the same
time, as the threads of the first ``runworker`` did.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, cast

from . import codec, names
from .backoff import Backoff
from .delivery import Content, Delivery, Headers, Message, Outgoing
from .exceptions import ChannelFull, InvalidMessage, LayerConfigurationError, LayerUnavailable, MessageTooLarge
from .forks import forget_in_children
from .layer import ChannelLayer, Statistics
from .outcome import Outcome
from .redaction import redact

logger = logging.getLogger(__name__)

ENVELOPE = "__millrace__"
"""Key of a message under which the adapter keeps what the draft has no place for."""

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.05
"""Seconds between two questions for a message, while none comes."""

METHODS = {
    None: ("send", "receive", "new_channel"),
    "groups": ("group_add", "group_discard", "group_channels", "send_group"),
    "flush": ("flush",),
    "statistics": ("global_statistics", "channel_statistics"),
}
"""Methods that the draft asks of every layer, and of those that name an extension."""

T = TypeVar("T")


class DraftLayer(Protocol):
    """A layer as the ASGI 1 draft describes it. The methods of extensions are there if `extensions` names them."""

    extensions: Sequence[str]
    ChannelFull: type[Exception]

    def send(self, channel: str, message: Content) -> None: ...

    def receive(self, channels: list[str], block: bool = False) -> tuple[str | None, Message | None]: ...

    def new_channel(self, pattern: str) -> str: ...

    def group_add(self, group: str, channel: str) -> None: ...

    def group_discard(self, group: str, channel: str) -> None: ...

    def group_channels(self, group: str) -> Iterable[str]: ...

    def send_group(self, group: str, message: Content) -> None: ...

    def flush(self) -> None: ...

    def global_statistics(self) -> Statistics: ...

    def channel_statistics(self, channel: str) -> Statistics: ...


def missing(layer: object) -> list[str]:
    """Name what a layer lacks of the draft; nothing if it conforms."""
    extensions = getattr(layer, "extensions", None)
    lacking = []
    if isinstance(extensions, str) or not isinstance(extensions, Iterable):
        lacking.append("extensions")
        extensions = ()
    full = getattr(layer, "ChannelFull", None)
    if not (inspect.isclass(full) and issubclass(full, Exception)):
        lacking.append("ChannelFull")
    for extension, methods in METHODS.items():
        if extension is None or extension in extensions:
            for name in methods:
                method = getattr(layer, name, None)
                if inspect.iscoroutinefunction(method):
                    lacking.append(f"a {name} that is not a coroutine")
                elif not callable(method):
                    lacking.append(name)
    return lacking


def adapted(layer: Any, configuration: object = None) -> ChannelLayer:
    """Return a layer that fulfils the contract: the one given, or the adapter of one that conforms to the draft.

    Args:
        layer: any object.
        configuration: what the layer was made with; no value of it is shown in an error.

    Raises:
        LayerConfigurationError: it is neither; the text names what it lacks.
    """
    if isinstance(layer, ChannelLayer):
        return layer
    contract = sorted(name for name in ChannelLayer.__abstractmethods__ if not name.startswith("_"))
    lacking = [name for name in ("prepare", "send", "receive", *contract) if not callable(getattr(layer, name, None))]
    if not lacking:
        return layer  # type: ignore[no-any-return]
    if "prepare" in lacking:
        lacking = missing(layer)
        if not lacking:
            return DraftChannelLayer(layer, configuration)
    raise LayerConfigurationError(
        f"{_kind(layer)} cannot be used: it lacks {', '.join(lacking)}; a layer is a subclass of "
        "channel_layer.layer.ChannelLayer, or has what the ASGI draft asked of the layers of Channels 1"
    )


class DraftChannelLayer(ChannelLayer):
    """The contract over a layer of the ASGI 1 draft.

    Attributes:
        draft: that layer.

    Args:
        draft: see `missing` for what it has to have.
        configuration: what it was made with; no value of it is shown in an error.
    """

    def __init__(self, draft: DraftLayer, configuration: object = None) -> None:
        super().__init__(
            expiry=getattr(draft, "expiry", 60),
            group_expiry=getattr(draft, "group_expiry", 86_400),
        )
        self.draft = draft
        self.extensions = [name for name in METHODS if name is not None and name in draft.extensions] + ["async"]
        self.local_only = bool(getattr(draft, "local_only", False))
        self._configuration = configuration
        self._too_large: Any = getattr(draft, "MessageTooLarge", ())
        forget_in_children(self)
        self.forget()

    def forget(self) -> None:
        """Begin anew in a process that was forked: threads stay behind."""
        self._lock = threading.Lock()
        self._interrupted = threading.Condition()
        self._interrupts = 0
        self._threads: dict[str, ThreadPoolExecutor] = {}

    # -- messages --------------------------------------------------------------------------------

    def prepare(
        self,
        target: str,
        message: Content,
        headers: Headers | None = None,
        group: bool = False,
    ) -> Outgoing:
        """See `ChannelLayer.prepare`."""
        if group:
            self._need("groups")
        if isinstance(message, dict) and ENVELOPE in message:
            raise InvalidMessage(target, f"the key {ENVELOPE!r} is the layer's own")
        return super().prepare(target, message, headers, group)

    def send(self, channel: str, message: Content) -> None:
        """See `ChannelLayer.send`."""
        item = self.prepare(channel, message)
        try:
            self._store(item)
        except self.draft.ChannelFull:
            raise ChannelFull(channel) from None
        except self._too_large:
            raise MessageTooLarge(channel, len(item.body), self.max_message_size) from None
        except Exception as error:
            raise self._unavailable(error) from error

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`. A message that the draft layer finds too large is dropped and logged."""
        refused: list[Outgoing] = []
        full: set[str] = set()
        for position, item in enumerate(items):
            reader = names.split(item.target)[0]
            if reader in full and not item.group:
                refused.append(item)
                continue
            try:
                self._store(item)
            except self.draft.ChannelFull:
                if not item.group:
                    full.add(reader)
                    refused.append(item)
            except self._too_large:
                logger.error("%s", MessageTooLarge(item.target, len(item.body), self.max_message_size))
                self.counters.possible_losses += 1
            except Exception as error:
                self.counters.possible_losses += 1
                outcome = Outcome(refused, unsent=items[position + 1 :], unknown=[item])
                raise self._unavailable(error, outcome) from error
        return refused

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`. Batches are sent in the order in which this is called."""
        return await self._in_thread("send", lambda: self.send_batch(items))

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        deadline = time.monotonic() + timeout
        pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE, 1.5)
        interrupts = self._interrupts
        while True:
            deliveries = self._take(channels, limit)
            remaining = deadline - time.monotonic()
            if deliveries or remaining <= 0:
                return deliveries
            with self._interrupted:
                if self._interrupted.wait_for(lambda: self._interrupts != interrupts, min(pauses.next(), remaining)):
                    return []

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`. Waiting takes no thread."""
        names.check_receivers(channels)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE, 1.5)
        while True:
            deliveries = await self._in_thread("receive", lambda: self._take(channels, limit))
            remaining = deadline - loop.time()
            if deliveries or remaining <= 0:
                return deliveries
            await asyncio.sleep(min(pauses.next(), remaining))

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        with self._interrupted:
            self._interrupts += 1
            self._interrupted.notify_all()

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        refused = self.send_batch(items)
        if refused:
            self.counters.possible_losses += len(refused)
            logger.error("%d messages of %s are lost: they were to be put back, and it is full", len(refused), channel)

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        names.check_group(group)
        reader, local = names.split(names.check_channel(channel))
        self._need("groups")
        if local:
            # For `aforget`: the process that reads the channel knows then what to leave once it is gone.
            try:
                self._call(self.draft.send, channel, {ENVELOPE: {"join": group, "seconds": self.group_expiry}})
            except self.draft.ChannelFull:
                logger.debug("%s is full; its membership of %s ends by expiry", reader, group)
        self._call(self.draft.group_add, group, channel)

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        await self._in_thread("send", lambda: self.group_add(group, channel))

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        names.check_group(group)
        names.check_channel(channel)
        self._need("groups")
        self._call(self.draft.group_discard, group, channel)

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        await self._in_thread("send", lambda: self.group_discard(group, channel))

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        names.check_group(group)
        self._need("groups")
        return list(self._call(self.draft.group_channels, group))

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        ended = [
            (group, channel)
            for channel in channels
            for group in self.index.forget(*names.split(names.check_channel(channel)))
        ]
        if ended:
            await self._in_thread("send", lambda: self._leave(ended))

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""
        self._need("flush")
        self._call(self.draft.flush)
        self._copies.clear()
        self.index.clear()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`; empty if the draft layer counts nothing."""
        return dict(self._call(self.draft.global_statistics)) if "statistics" in self.extensions else {}

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`; empty if the draft layer counts nothing."""
        names.check_channel(channel)
        return dict(self._call(self.draft.channel_statistics, channel)) if "statistics" in self.extensions else {}

    def check(self) -> None:
        """See `ChannelLayer.check`: ask for a message of a channel that nobody else knows."""
        self._call(self.draft.receive, [names.new_name("check?")], block=False)

    def close(self) -> None:
        """See `ChannelLayer.close`."""
        with self._lock:
            threads, self._threads = self._threads, {}
        for thread in threads.values():
            thread.shutdown()

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return f"{_kind(self.draft)}, a layer of the ASGI draft"

    # --------------------------------------------------------------------------------------------

    def _leave(self, memberships: Iterable[tuple[str, str]]) -> None:
        for group, channel in memberships:
            self.group_discard(group, channel)

    def _store(self, item: Outgoing) -> None:
        frame = codec.frame(codec.DIRECT, "", item.body, item.headers)
        _, _, message, headers = codec.unpack_frame(frame, len(frame))
        if headers is not None:
            message[ENVELOPE] = {"headers": headers}
        if item.group:
            self.draft.send_group(item.target, message)
        else:
            self.draft.send(item.target, message)

    def _take(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        asked = list(channels)
        while asked and len(deliveries) < max(limit, 1):
            try:
                channel, message = self.draft.receive(asked, block=False)
            except Exception as error:
                if deliveries:
                    break  # they were taken and must not be lost; who asks again meets the error again
                raise self._unavailable(error) from error
            if channel is None:
                break
            delivery = self._open(channel, message)
            if delivery is not None:
                deliveries.append(delivery)
                asked = [names.split(channel)[0]]
        return deliveries

    def _open(self, channel: str, message: Any) -> Delivery | None:
        """Take the envelope off a received message; ``None`` if it is none for the receiver."""
        if not isinstance(message, dict):
            self.counters.bad_frames += 1
            return None
        envelope = message.pop(ENVELOPE, None)
        if envelope is None:
            return Delivery(channel, message)
        match envelope:
            case {"headers": dict() as headers}:
                return Delivery(channel, message, cast("Headers", headers))
            case {"join": str() as group, "seconds": int() | float() as seconds}:
                reader, local = names.split(channel)
                self.index.join(reader, group, local, seconds)
            case _:
                self.counters.bad_frames += 1
        return None

    def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        try:
            return function(*arguments, **options)
        except self.draft.ChannelFull:
            raise
        except Exception as error:
            raise self._unavailable(error) from error

    def _need(self, extension: str) -> None:
        if extension not in self.extensions:
            raise NotImplementedError(f"{_kind(self.draft)} has no extension {extension!r}")

    async def _in_thread(self, name: str, work: Callable[[], T]) -> T:
        """Run ``work`` in the one thread of that name, after all that was given to it before."""
        with self._lock:
            if name not in self._threads:
                self._threads[name] = ThreadPoolExecutor(1, f"draft-layer-{name}")
            job = self._threads[name].submit(work)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancelled():  # it is under way: what is sent once this has ended is for somebody else
                await asyncio.wait([asyncio.wrap_future(job)])
            raise

    def _unavailable(self, error: Exception, outcome: Outcome | None = None) -> LayerUnavailable:
        reason = redact(f"{type(error).__name__}: {error}", self._configuration)
        return LayerUnavailable(_kind(self.draft), reason, uncertain=True, outcome=outcome)


def _kind(layer: object) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
