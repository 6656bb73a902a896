"""Spans of consumers, and of the events of instances."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

from channel_layer import tracing
from channel_layer.channel import Message
from channel_layer.delivery import Headers

from .exceptions import ConsumerSignal
from .hooks import AfterEvent, Hook, Hooks

if TYPE_CHECKING:
    from .instances import Hosted

_turn: ContextVar[tracing.Turn | None] = ContextVar("workers_tracing", default=None)


class TracingHook(Hook):
    """Makes a span of each message, in which its consumer runs, and one of the time that it has waited."""

    def before(self, message: Message) -> None:
        """See `Hook.before`."""
        path = message.content.get("path")
        turn = tracing.begin_message(message.channel.name, message.headers, {"url.path": path} if path else {})
        _turn.set(turn)
        tracing.enter(turn)

    def after(self, message: Message, error: BaseException | None) -> None:
        """See `Hook.after`."""
        turn = _turn.get()
        if turn is not None:
            turn.end(None if isinstance(error, ConsumerSignal) else error)
        tracing.leave()


class EventSpans:
    """Makes a span of each event of an instance, from when the application gets it until it asks for the next one.

    What the application does meanwhile belongs to the span, if it waits for events in the task that deals with them.
    Hooks are told of events here, too.

    Args:
        hosted: the application.
        hooks: of the worker.
    """

    def __init__(self, hosted: Hosted, hooks: Hooks) -> None:
        self._hosted = hosted
        self._hooks = hooks
        self._endings: Sequence[AfterEvent] = ()
        self._carriers: dict[int, Headers] = {}
        self._turn: tracing.Turn | None = None

    def expect(self, number: int, headers: Headers) -> None:
        """An event is there, and the application is still at others."""
        if "trace" in headers:
            self._carriers[number] = headers

    def begin(self, number: int, kind: str) -> None:
        """The application gets an event."""
        carrier = self._carriers.pop(number, Headers())
        if tracing.is_on:
            self._turn = tracing.begin_message(kind, carrier, {"messaging.millrace.application": self._hosted.name})
            tracing.enter(self._turn)
        if self._hooks.want_events:
            self._endings = self._hooks.before_event(self._hosted, kind)

    def end(self, error: BaseException | None = None) -> None:
        """The application is done with it, or has failed."""
        endings, self._endings = self._endings, ()
        self._hooks.after_event(endings, error)
        if self._turn is not None:
            self._turn.end(error)
            self._turn = None
            tracing.leave()
