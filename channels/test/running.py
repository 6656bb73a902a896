"""A worker's run of one consumer, for tests: its errors reach the test."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any, ClassVar, cast

from asgiref.sync import async_to_sync
from django.dispatch import Signal

from channel_layer.channel import Message
from channel_layer.codec import EMPTY
from channel_layer.delivery import Delivery, Headers, Outgoing
from channel_layer.exceptions import ChannelFull
from channel_layer.layer import ChannelLayer
from channel_layer.messages import CONNECT, DISCONNECT, RECEIVE
from channel_layer.outbox import Outbox
from channels.asked_state import held
from channels.exceptions import DenyConnection
from channels.runtime.surroundings import prefix_urls, set_defaults
from channels.session_stores import uses_connections
from channels.signals import close_old_connections, consumer_finished, consumer_started  # type: ignore[attr-defined]
from routing.routes import Consumer, Match, RoutedMessage
from workers import Stream
from workers.exceptions import ChannelSocketException, ConsumeLater
from workers.hooks import Hook, Hooks
from workers.runner import Finished, Runner

MESSAGE_RETRIES = 10
"""Most times that a message may be consumed later, as in a worker."""


def run_consumer(message: Message, consumer: Consumer, kwargs: Mapping[str, object], sender: object) -> Any:
    """Run a consumer with the hooks of a worker around it, then send its messages.

    Args:
        message: as it was received.
        consumer: sync, or async; then it runs on an event loop made for it, with the database
            connections of the calling thread.
        kwargs: what the route gives it.
        sender: the sender of `consumer_started` and `consumer_finished`.

    Returns:
        The result of the consumer; ``None`` if it raised a `ChannelSocketException`.

    Raises:
        ConsumeLater, DenyConnection: after they have been carried out as by a worker: the message is back on
            its channel, the rejection has been sent.
        ChannelFull: a channel takes no more of what the consumer sent.
        BaseException: any other error of the consumer or of a receiver of a signal. Then nothing that was
            held back is sent.
    """
    run = _Run(consumer, kwargs)
    layer = message.channel_layer
    runner = Runner(layer, run, Hooks([_Signals(run, sender)]), MESSAGE_RETRIES, _send_now)
    turn = _Turn(message)
    with _connections_kept():
        # A context of its own, as in a worker: neither the test nor the next consumer is left what this one sets.
        delivery = Delivery(message.channel.name, message.content, turn.headers)
        outbox, *_ = contextvars.copy_context().run(_run_anew, runner, delivery)
    outbox = turn.end(outbox)
    if run.error is None or run.is_settled:
        _send(outbox)
    if run.error is not None:
        raise run.error
    return run.result


def _run_anew(runner: Runner, delivery: Delivery) -> Finished:
    set_defaults()
    return runner.run(delivery)


class _Run:
    """A router that matches one consumer, and keeps its result or its error."""

    def __init__(self, consumer: Consumer, kwargs: Mapping[str, object]) -> None:
        self._consumer = consumer
        self._kwargs = kwargs
        self.result: object = None
        self.error: BaseException | None = None
        self.is_settled = False

    def match(self, message: RoutedMessage) -> Match:
        """See `Router.match`."""
        return self._call, self._kwargs

    def fail(self, error: BaseException, is_settled: bool = False) -> None:
        """Keep the first error. ``is_settled``: the runner carries it out as a worker does."""
        if self.error is None:
            self.error, self.is_settled = error, is_settled

    def _call(self, message: Message, **kwargs: object) -> None:
        try:
            result = self._consumer(message, **kwargs)
            if isinstance(result, Stream):
                async_to_sync(result.run)()
            else:
                self.result = async_to_sync(_finish)(result) if inspect.iscoroutine(result) else result
        except ConsumeLater as error:
            self.fail(error, is_settled=True)
            raise
        except ChannelSocketException as error:
            raise (_Kept if error.keeps_sends else _Dropped)(self, error) from None
        except BaseException as error:
            self.fail(error)
            raise _Dropped(self, None) from None


class _Kept(ChannelSocketException):
    """The runner's view of a consumer's exception: an action to run, and nothing to log."""

    def __init__(self, run: _Run, error: ChannelSocketException | None) -> None:
        super().__init__()
        self._run = run
        self._error = error

    def run(self, message: Message) -> None:
        """Carry out the consumer's exception."""
        if self._error is None:
            return
        try:
            self._error.run(message)
        except BaseException as error:
            self._run.fail(error)
        else:
            if isinstance(self._error, DenyConnection):
                self._run.fail(self._error, is_settled=True)


class _Dropped(_Kept):
    """The same for an exception that drops what was queued before it."""

    keeps_sends: ClassVar[bool] = False


class _Signals(Hook):
    """Sends the signals around a consumer; an error of a receiver fails the test."""

    def __init__(self, run: _Run, sender: object) -> None:
        self._run = run
        self._sender = sender

    def before(self, message: Message) -> None:
        """See `Hook.before`."""
        prefix_urls(message)
        self._signal(consumer_started, message=message, environ={})

    def after(self, message: Message, error: BaseException | None) -> None:
        """See `Hook.after`."""
        self._signal(consumer_finished, message=message)

    def _signal(self, signal: Signal, **kwargs: object) -> None:
        try:
            signal.send(sender=self._sender, **kwargs)
        except BaseException as error:
            self._run.fail(error)


class _Turn:
    """The turn of a WebSocket's message, with the state that the test client keeps in the connection's place."""

    def __init__(self, message: Message) -> None:
        self._reply = message.reply_channel.name if message.reply_channel is not None else ""
        is_of_connection = message.channel.name in (CONNECT, RECEIVE, DISCONNECT) and uses_connections()
        holder = held.get(self._reply) if is_of_connection else None
        self._holder = holder if holder is not None and holder.takes_turns else None
        self.headers = cast("Headers", dict(message.headers))
        if self._holder is not None:
            self.headers["turn"], self.headers["state"] = 0, self._holder.values

    def end(self, outbox: Outbox) -> Outbox:
        """Store the changed state, and return what is to be sent without the end of the turn."""
        if self._holder is None:
            return outbox
        left: Outbox = []
        for layer, item in outbox:
            if item.target == self._reply and item.headers is not None:
                if "state" in item.headers:
                    self._holder.change(item.headers["state"])
                if item.body == EMPTY:
                    continue
            left.append((layer, item))
        return left


async def _finish(result: Awaitable[object]) -> object:
    return await result


def _send(outbox: Outbox) -> None:
    for _, group in groupby(outbox, key=lambda entry: id(entry[0])):
        entries = list(group)
        refused = entries[0][0].send_batch([item for _, item in entries])
        if refused:
            raise ChannelFull(refused[0].target)


def _send_now(seconds: float, layer: ChannelLayer, item: Outgoing) -> None:
    _send([(layer, item)])


@contextmanager
def _connections_kept() -> Iterator[None]:
    """Keep the database connections open, because the test continues to use them."""
    uid = "channels.close_old_connections"
    signals = [one for one in (consumer_started, consumer_finished) if one.disconnect(dispatch_uid=uid)]
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections, dispatch_uid=uid)
