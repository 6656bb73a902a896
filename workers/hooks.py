"""What an application framework may do around the life of a worker and around each consumer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


class Hook:
    """Base class of hooks; override what you need.

    `before` and `after` run in the thread that runs the consumer, the others in the thread that
    starts the worker. Around an ``async def`` consumer, which runs on an event loop, they run in threads
    all the same, see `after_blocks`. What a hook sends through channels is collected with what the
    consumer sends. A hook that raises is logged and otherwise ignored.
    """

    def worker_process_ready(self, worker: Any) -> None:
        """The process is about to start its threads."""

    def worker_ready(self, worker: Any) -> None:
        """The worker takes messages from now on."""

    def before(self, message: Any) -> None:
        """A consumer is about to run."""

    def after(self, message: Any, error: BaseException | None) -> None:
        """A consumer has returned, or raised ``error``."""

    def after_blocks(self) -> bool:
        """Whether `after` may wait for something. If not, it is called on the event loop of ``async def`` consumers.

        Asked whenever such a consumer has returned.
        """
        return type(self).after is not Hook.after


class Hooks:
    """All hooks of a worker, called in order; `after` in reverse order."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self._reversed = self._hooks[::-1]

    def worker_process_ready(self, worker: Any) -> None:
        """See `Hook.worker_process_ready`."""
        for hook in self._hooks:
            _call(hook.worker_process_ready, worker)

    def worker_ready(self, worker: Any) -> None:
        """See `Hook.worker_ready`."""
        for hook in self._hooks:
            _call(hook.worker_ready, worker)

    def before(self, message: Any) -> None:
        """See `Hook.before`."""
        for hook in self._hooks:
            _call(hook.before, message, catch=BaseException)

    def after(self, message: Any, error: BaseException | None) -> None:
        """See `Hook.after`."""
        for hook in self._reversed:
            _call(hook.after, message, error, catch=BaseException)

    def after_blocks(self) -> bool:
        """Whether `after` of any hook blocks."""
        return any(hook.after_blocks() for hook in self._hooks)


def _call(method: Any, *args: Any, catch: type[BaseException] = Exception) -> None:
    """Call a hook. In a thread of consumers nothing it raises may pass, not even SystemExit."""
    try:
        method(*args)
    except catch:
        logger.exception("hook %s failed; going on without it", getattr(method, "__qualname__", method))
