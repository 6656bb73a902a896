"""Running the consumer of one message."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any

from channel_layer.channel import Message
from channel_layer.codec import pack_body
from channel_layer.delivery import Delivery, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.outbox import Outbox, collecting

from .exceptions import ChannelSocketException, ConsumeLater
from .hooks import Hooks

logger = logging.getLogger(__name__)

_EMPTY = pack_body({})


class Runner:
    """Matches a message, runs its consumer and collects what is to be sent.

    Thread-safe; nothing a consumer raises leaves `run`.

    Args:
        layer: the layer the messages come from.
        router: gives the consumer of a message.
        hooks: run around each consumer.
        retries: how often a message may be consumed later.
    """

    def __init__(self, layer: Any, router: Any, hooks: Hooks, retries: int = 10) -> None:
        self._layer = layer
        self._router = router
        self._hooks = hooks
        self._retries = retries
        self._local = threading.local()

    def run(self, delivery: Delivery) -> tuple[Outbox, str, Message]:
        """Run the consumer of a message.

        Returns:
            What to send, with the end of the message's turn in it; a word for the log: ``ok``,
            ``ignored``, ``failed``, ``later`` or ``dropped``; and the message.
        """
        message = Message(delivery.message, delivery.channel, self._layer, delivery.headers)
        outbox: Outbox = []
        with collecting(outbox):
            outcome = self._consume(message, outbox)
        if outcome != "later":
            self._end_turn(message, outbox)
        return outbox, outcome, message

    def _consume(self, message: Message, outbox: Outbox) -> str:
        error: BaseException | None = None
        consumer = None
        self._hooks.before(message)
        try:
            match = self._router.match(message)
            if match is None:
                return "ignored"
            consumer, kwargs = match
            result = consumer(message, **kwargs)
            if inspect.iscoroutine(result):
                self._run_coroutine(result)
            return "ok"
        except ConsumeLater as later:
            error = later
            outbox.clear()
            return self._requeue(message, consumer, outbox)
        except ChannelSocketException as instead:
            error = instead
            return self._run_instead(instead, message, consumer, outbox)
        except BaseException as caught:  # SystemExit and the like end the consumer, not the worker
            error = caught
            outbox.clear()
            logger.exception("error in %s on %s", _name(consumer), message.channel.name)
            return "failed"
        finally:
            self._hooks.after(message, error)

    def _run_instead(
        self, instead: ChannelSocketException, message: Message, consumer: Any, outbox: Outbox
    ) -> str:
        if not instead.keeps_sends:
            outbox.clear()
        try:
            instead.run(message)
            return "ok"
        except Exception:
            outbox.clear()
            logger.exception("error in %s raised by %s", type(instead).__name__, _name(consumer))
            return "failed"

    def _requeue(self, message: Message, consumer: Any, outbox: Outbox) -> str:
        tries = message.headers.get("tries", 0) + 1
        channel = message.channel.name
        if tries > self._retries:
            logger.warning("%s on %s asked for later %d times; dropped", _name(consumer), channel, self._retries)
            return "dropped"
        try:
            outbox.append((self._layer, self._layer.prepare(channel, message.content, {**message.headers, "tries": tries})))
        except ChannelLayerError:
            logger.exception("%s on %s cannot be tried again", _name(consumer), channel)
            return "dropped"
        return "later"

    def _end_turn(self, message: Message, outbox: Outbox) -> None:
        """Tell the sender, with the last reply if there is one, that it may send the next message."""
        if not message.carries_state or message.reply_channel is None:
            return
        headers: dict[str, Any] = {"turn": message.headers["turn"]}
        if message.state is not message.headers.get("state"):
            headers["state"] = message.state
        name = message.reply_channel.name
        for layer, item in reversed(outbox):
            if item.target == name and not item.group and layer is self._layer:
                item.headers = headers
                return
        outbox.append((self._layer, Outgoing(name, _EMPTY, headers)))

    def _run_coroutine(self, coroutine: Any) -> None:
        """Run an ``async def`` consumer in this thread, on a loop that the thread keeps."""
        runner = getattr(self._local, "runner", None)
        if runner is None:
            runner = self._local.runner = asyncio.Runner()
        runner.run(coroutine)

    def close_thread(self) -> None:
        """Release what the calling thread holds."""
        runner = self._local.__dict__.pop("runner", None)
        if runner is not None:
            runner.close()


def _name(consumer: Any) -> str:
    if consumer is None:
        return "the routing"
    return f"{getattr(consumer, '__module__', '?')}.{getattr(consumer, '__qualname__', type(consumer).__qualname__)}"
