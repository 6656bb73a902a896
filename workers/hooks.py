"""Calls of an application framework around the life of a worker and around each consumer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ParamSpec

from channel_layer.channel import Message
from routing.routes import Consumer

if TYPE_CHECKING:
    from .instances import Hosted
    from .worker import Worker

P = ParamSpec("P")

AfterEvent = Callable[[BaseException | None], None]
"""Called when an application is done with an event, or has raised an error."""

logger = logging.getLogger(__name__)


class Hook:
    """Base class of hooks; override the methods that are needed.

    `before` and `after` run in the thread that runs the consumer, the first two in the thread that
    starts the worker. Around an ``async def`` consumer, which runs on an event loop, they run in threads
    all the same, see `after_blocks`. Messages that a hook sends through channels are collected with those of the
    consumer. A hook that raises is logged and otherwise ignored.
    """

    def worker_process_ready(self, worker: Worker) -> None:
        """Called before the process starts its threads."""

    def worker_ready(self, worker: Worker) -> None:
        """Called when the worker begins to take messages."""

    def before(self, message: Message) -> None:
        """Called before a consumer."""

    def matched(self, message: Message, consumer: Consumer) -> None:
        """Called after `before` when the message has a consumer, just before that runs."""

    def after(self, message: Message, error: BaseException | None) -> None:
        """Called when a consumer has returned, or raised ``error``."""

    def before_event(self, hosted: Hosted, kind: str) -> AfterEvent | None:
        """Called before a hosted application gets an event, in the task that waits for it, and must not block.

        Returns:
            A function for the end of the event, called in the same task; ``None`` if there is nothing to do then.
        """
        return None

    def thread_ended(self) -> None:
        """Called in each of the worker's threads as the last thing before it ends."""

    def after_blocks(self) -> bool:
        """True if `after` may block. If not, it is called on the event loop of ``async def`` consumers.

        Called whenever such a consumer has returned.
        """
        return type(self).after is not Hook.after


class Hooks:
    """All hooks of a worker, called in order; `after` in reverse order.

    Attributes:
        want_consumers, want_events: whether any hook has `Hook.matched`, `Hook.before_event`.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        # For each message: bound once, and called without a function in between.
        self._before = tuple(hook.before for hook in self._hooks)
        self._after = tuple(hook.after for hook in reversed(self._hooks))
        self._matched = tuple(hook.matched for hook in self._hooks if type(hook).matched is not Hook.matched)
        self._before_event = tuple(
            hook.before_event for hook in self._hooks if type(hook).before_event is not Hook.before_event
        )
        self.want_consumers, self.want_events = bool(self._matched), bool(self._before_event)

    def worker_process_ready(self, worker: Worker) -> None:
        """See `Hook.worker_process_ready`."""
        for hook in self._hooks:
            _call(Exception, hook.worker_process_ready, worker)

    def worker_ready(self, worker: Worker) -> None:
        """See `Hook.worker_ready`."""
        for hook in self._hooks:
            _call(Exception, hook.worker_ready, worker)

    def before(self, message: Message) -> None:
        """See `Hook.before`."""
        for before in self._before:
            try:
                before(message)
            except BaseException as failure:
                _report(before, failure)

    def matched(self, message: Message, consumer: Consumer) -> None:
        """See `Hook.matched`."""
        for matched in self._matched:
            _call(BaseException, matched, message, consumer)

    def before_event(self, hosted: Hosted, kind: str) -> list[AfterEvent]:
        """See `Hook.before_event`; returns what to pass to `after_event`."""
        endings = []
        for before in self._before_event:
            try:
                if (ending := before(hosted, kind)) is not None:
                    endings.append(ending)
            except Exception as failure:
                _report(before, failure)
        return endings

    def after_event(self, endings: Sequence[AfterEvent], error: BaseException | None) -> None:
        """An application is done with an event."""
        for ending in reversed(endings):
            _call(Exception, ending, error)

    def after(self, message: Message, error: BaseException | None) -> None:
        """See `Hook.after`."""
        for after in self._after:
            try:
                after(message, error)
            except BaseException as failure:
                _report(after, failure)

    def thread_ended(self) -> None:
        """See `Hook.thread_ended`."""
        for hook in self._hooks:
            _call(BaseException, hook.thread_ended)

    def after_blocks(self) -> bool:
        """True if `after` of any hook may block."""
        return any(hook.after_blocks() for hook in self._hooks)


def _call(catch: type[BaseException], method: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a hook. In a thread of consumers nothing it raises may pass, not even SystemExit."""
    try:
        method(*args, **kwargs)
    except catch as failure:
        _report(method, failure)


def _report(method: Callable[..., object], failure: BaseException) -> None:
    logger.error("hook %s failed; going on without it", getattr(method, "__qualname__", method), exc_info=failure)
