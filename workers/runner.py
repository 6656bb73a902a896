"""The run of the consumer of one message."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Literal

from channel_layer.channel import Channel, Message
from channel_layer.codec import EMPTY
from channel_layer.delivery import Delivery, Headers, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.names import check_channel
from channel_layer.outbox import Outbox, begin_collecting, end_collecting
from channel_layer.state import changes
from routing.routes import Consumer, Matcher

from .exceptions import ChannelSocketException, ConsumeLater, LeaveToOthers
from .facts import Facts, name_of
from .fetcher import put_back
from .hooks import Hooks
from .instances import Hosted
from .streams import Stream

logger = logging.getLogger(__name__)

Outcome = Literal["ok", "ignored", "failed", "later", "dropped", "hosted"]
"""The end of a message, in a word for the log."""

FAILURES: frozenset[Outcome] = frozenset({"failed", "dropped"})
"""Outcomes after which the sender of a message will get no more answer."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before a message is put back the second time it is consumed later, doubling up to the most.

The first time it goes back at once. It waits, most often, for something that another worker is about
to do, and ten tries without a pause would be over in a few milliseconds.
"""

MOST_NAMED = 4_096
"""Connections of which the runner remembers to have told the name of the user; of others it tells that again."""

Finished = tuple[Outbox, Outcome, Message, Consumer | None]
"""The messages to send, with the end of the message's turn in them; the outcome; the message; and its consumer."""

SendLater = Callable[[float, ChannelLayer, Outgoing], None]
"""Sends a message to a layer after so many seconds; see `Sender.add_later`."""


def run_stream_here(stream: Stream) -> None:
    """Run a stream in the calling thread, on an event loop made for it."""
    asyncio.run(stream.run())


def refuse_to_host(hosted: Hosted, delivery: Delivery) -> None:
    """Refuse an application, where nothing runs that could hold it.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(f"{hosted.name} needs a worker: manage.py runworker or runserver")


class Runner:
    """Match a message, run its consumer and collect the messages to be sent.

    Thread-safe; nothing a consumer raises leaves `run` or `begin`.

    Args:
        layer: the layer the messages come from.
        router: gives the consumer of a message.
        hooks: run around each consumer.
        retries: how often a message may be consumed later.
        send_later: puts a message back to its channel after a pause.
        begin_stream: takes over a stream that a consumer returns.
        host: takes over an application that a consumer returns for a message; may raise `ConsumeLater`.
        facts: remembers errors.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        router: Matcher,
        hooks: Hooks,
        retries: int,
        send_later: SendLater,
        begin_stream: Callable[[Stream], None] = run_stream_here,
        host: Callable[[Hosted, Delivery], None] = refuse_to_host,
        facts: Facts | None = None,
    ) -> None:
        self._layer = layer
        self._router = router
        self._hooks = hooks
        self._retries = retries
        self._send_later = send_later
        self._begin_stream = begin_stream
        self._host = host
        self._facts = facts if facts is not None else Facts()
        self._told: set[str] = set()
        self._named: dict[str, str] = {}

    def run(self, delivery: Delivery) -> Finished:
        """Run the consumer of a message to its end; a coroutine on an event loop made for it.

        Raises:
            ValueError: the message's ``reply_channel`` is not text.
        """
        result = self.begin(delivery)
        return result.run_here() if isinstance(result, PendingCoroutine) else result

    def begin(self, delivery: Delivery) -> Finished | PendingCoroutine:
        """Run the consumer of a message, unless it is a coroutine: then that is returned, to be run elsewhere.

        Raises:
            ValueError: the message's ``reply_channel`` is not text.
        """
        # Read again when the consumer has ended, so it must not be changed.
        headers: Headers = MappingProxyType(delivery.headers or {})  # type: ignore[assignment]  # read-only
        message = Message(delivery.message, delivery.channel, self._layer, headers)
        reply_channel = message.reply_channel
        outbox: Outbox = []
        token = begin_collecting(outbox)
        try:
            outcome, consumer, coroutine = self._consume(message, delivery, outbox)
            if coroutine is not None:
                assert consumer is not None
                return PendingCoroutine(self, delivery, message, reply_channel, outbox, consumer, coroutine)
        finally:
            end_collecting(token)
        return self._finished(outbox, outcome, message, consumer, reply_channel, headers)

    def _consume(
        self, message: Message, delivery: Delivery, outbox: Outbox
    ) -> tuple[Outcome, Consumer | None, Coroutine[Any, Any, Any] | None]:
        """Call the consumer and the hooks around it; returns the outcome, the consumer, and its coroutine if any."""
        error: BaseException | None = None
        coroutine: Coroutine[object, object, object] | None = None
        consumer: Consumer | None = None
        self._hooks.before(message)
        try:
            match = self._router.match(message)
            if match is None:
                return "ignored", None, None
            consumer, kwargs = match
            if self._hooks.want_consumers:
                self._hooks.matched(message, consumer)
            result = consumer(message, **kwargs)
            if result is None:
                return "ok", consumer, None
            if inspect.iscoroutine(result):
                coroutine = result
                return "ok", consumer, coroutine
            if isinstance(result, Stream):
                self._begin_stream(result)
            elif isinstance(result, Hosted):
                self._host(result, delivery)
                return "hosted", consumer, None
            else:
                self._tell_of_result(consumer, result)
            return "ok", consumer, None
        except BaseException as caught:  # SystemExit and the like end the consumer, not the worker
            error = caught
            return self._deal_with(caught, message, delivery, consumer, outbox), consumer, None
        finally:
            if coroutine is None:
                self._hooks.after(message, error)
            error = None  # its traceback holds this frame, and so everything in it, until it is let go

    def _tell_of_result(self, consumer: Consumer, result: object) -> None:
        """Warn, once for each consumer, that a dict it returned goes nowhere."""
        name = _name(consumer)
        if isinstance(result, Mapping) and name not in self._told:
            self._told.add(name)
            logger.warning(
                "%s returned a %s, which goes nowhere; send it: message.reply_channel.send({...})",
                name, type(result).__name__,
            )  # fmt: skip

    def _finished(
        self,
        outbox: Outbox,
        outcome: Outcome,
        message: Message,
        consumer: Consumer | None,
        reply_channel: Channel | None,
        headers: Headers,
    ) -> Finished:
        """Add the end of the message's turn to what is to be sent."""
        if reply_channel is not None and outcome != "hosted":
            if "turn" in headers:
                self._tell_of_turn(reply_channel.name, message, headers, outcome, outbox)
            elif "flow" in headers and outcome in FAILURES:
                self._tell(reply_channel.name, {"failed": True}, outbox)
        return outbox, outcome, message, consumer

    def _deal_with(
        self, error: BaseException, message: Message, delivery: Delivery, consumer: Consumer | None, outbox: Outbox
    ) -> Outcome:
        """Carry out the wish of a consumer that raised a signal, or report that it failed."""
        try:
            if isinstance(error, ChannelSocketException):
                if not error.keeps_sends:
                    outbox.clear()
                error.run(message)
                return "ok"
            outbox.clear()
            if isinstance(error, LeaveToOthers) and put_back(self._layer, delivery.channel, [delivery], self._facts):
                return "later"  # where it was: its sender may ask the layer by its age whether it still waits
            if isinstance(error, ConsumeLater):
                has_limit = not isinstance(error, LeaveToOthers)
                return self._requeue(message, delivery, consumer, outbox, has_limit)
            self._facts.failed(delivery.channel, _name(consumer), error)
            logger.error("error in %s on %s", _name(consumer), delivery.channel, exc_info=error)
        except BaseException as another:
            outbox.clear()
            self._facts.failed(delivery.channel, _name(consumer), another)
            logger.exception("error in %s raised by %s on %s", type(error).__name__, _name(consumer), delivery.channel)
        return "failed"

    def _requeue(
        self, message: Message, delivery: Delivery, consumer: Consumer | None, outbox: Outbox, has_limit: bool
    ) -> Outcome:
        """Put a message at the back of its channel, as the consumer left it and with its headers."""
        headers = delivery.headers or {}
        if message.state is not message.headers.get("state"):
            headers = {**headers, "state": message.state}
        tries = headers.get("tries", 0) + 1
        channel = delivery.channel
        if has_limit and tries > self._retries:
            logger.warning("%s on %s asked for later %d times; dropped", _name(consumer), channel, self._retries)
            return "dropped"
        try:
            item = self._layer.prepare(channel, message.content, {**headers, "tries": tries})
        except ChannelLayerError as error:
            logger.error("%s on %s cannot be tried again: %s", _name(consumer), channel, error)
            return "dropped"
        if tries == 1:
            outbox.append((self._layer, item))
        else:
            self._send_later(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 2, 10)), self._layer, item)
        return "later"

    def _tell_of_turn(self, name: str, message: Message, before: Headers, outcome: Outcome, outbox: Outbox) -> None:
        """Tell the sender that it may send the next message, unless this one is tried again, and the state to keep."""
        headers: Headers = {"later": before["turn"]} if outcome == "later" else {"turn": before["turn"]}
        if outcome in FAILURES:
            headers["failed"] = True
        if message.user_name is not None and self._named.get(name) != message.user_name:
            headers["user"] = self._named[name] = message.user_name
            if len(self._named) > MOST_NAMED:
                del self._named[next(iter(self._named))]
        ahead: Outbox | None = None
        if message.state is not before.get("state"):
            changed: dict[str, bytes | None] = {}
            try:
                changed = changes(before.get("state"), message.state)
            except TypeError as error:
                logger.error("the state of a message on %s was not kept: %s", message.channel, error)
            if changed and any(item.target != name and not item.group for _, item in outbox):
                # Ahead of messages whose consumers may ask for the state.
                self._tell(name, {"state": changed}, ahead := [])
            elif changed:
                headers["state"] = changed
        # The last reply can carry the end of the turn, which saves a message.
        for layer, item in reversed(outbox) if outcome != "later" else ():
            if item.target == name and not item.group and layer is self._layer:
                item.headers = headers if item.headers is None else {**item.headers, **headers}
                break
        else:
            self._tell(name, headers, outbox)
        if ahead:
            outbox[:0] = ahead

    def _tell(self, name: str, headers: Headers, outbox: Outbox) -> None:
        """Send headers alone to a reply channel."""
        try:
            outbox.append((self._layer, Outgoing(check_channel(name), EMPTY, headers)))
        except ChannelLayerError as error:
            logger.error("a sender cannot be told how its message ended: %s", error)


class PendingCoroutine:
    """An ``async def`` consumer whose coroutine is still to be run.

    Attributes:
        coroutine: to be awaited.
        context: to await it in; it holds the outbox and whatever was set while the coroutine was made.
        delivery: the message as it was received.
    """

    def __init__(
        self,
        runner: Runner,
        delivery: Delivery,
        message: Message,
        reply_channel: Channel | None,
        outbox: Outbox,
        consumer: Consumer,
        coroutine: Coroutine[object, object, object],
    ) -> None:
        self.coroutine = coroutine
        self.context = contextvars.copy_context()
        self.delivery = delivery
        self._runner = runner
        self._message = message
        self._headers: Headers = delivery.headers or {}
        self._reply_channel = reply_channel
        self._outbox = outbox
        self._consumer = consumer

    @property
    def name(self) -> str:
        """The consumer's name, for the log."""
        return _name(self._consumer)

    @property
    def reply_channel(self) -> str | None:
        """Name of the message's reply channel, as it was received."""
        return None if self._reply_channel is None else self._reply_channel.name

    def blocks(self, error: BaseException | None) -> bool:
        """True if `finish` may block and is to be called in a thread."""
        return error is not None or self._runner._hooks.after_blocks()

    def finish(self, error: BaseException | None, result: object = None) -> Finished:
        """Run the hooks after a coroutine that has ended, and end its turn; called in the coroutine's context."""
        outcome: Outcome = "ok"
        if result is not None:
            self._runner._tell_of_result(self._consumer, result)
        if error is not None:
            outcome = self._runner._deal_with(error, self._message, self.delivery, self._consumer, self._outbox)
        self._runner._hooks.after(self._message, error)
        return self._runner._finished(
            self._outbox, outcome, self._message, self._consumer, self._reply_channel, self._headers
        )

    def abandon(self) -> None:
        """Discard a coroutine that nobody has run yet, for its message goes elsewhere."""
        self.coroutine.close()
        self.context.run(self._runner._hooks.after, self._message, None)

    def run_here(self) -> Finished:
        """Run the coroutine in the calling thread, on an event loop made for it."""
        error: BaseException | None = None
        result = None
        try:
            with asyncio.Runner() as loop:
                result = loop.run(self.coroutine, context=self.context)
        except BaseException as caught:
            error = caught
        try:
            return self.context.run(self.finish, error, result)
        finally:
            error = None  # as in Runner._consume


def _name(consumer: object) -> str:
    """The dotted path of a consumer, for the log."""
    return "the routing" if consumer is None else name_of(consumer)
