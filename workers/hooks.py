"""What an application framework may do around the life of a worker and around each consumer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

logger = logging.getLogger(__name__)


class Hook:
    """Base class of hooks; override what you need.

    `before` and `after` run in the thread that runs the consumer, the others in the thread that
    starts the worker. What a hook sends through channels is collected with what the consumer sends.
    A hook that raises is logged and otherwise ignored.
    """

    def worker_process_ready(self, worker: Any) -> None:
        """The process is about to start its threads."""

    def worker_ready(self, worker: Any) -> None:
        """The worker takes messages from now on."""

    def before(self, message: Any) -> None:
        """A consumer is about to run."""

    def after(self, message: Any, error: BaseException | None) -> None:
        """A consumer has returned, or raised ``error``."""


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


def _call(method: Any, *args: Any, catch: type[BaseException] = Exception) -> None:
    """Call a hook. In a thread of consumers nothing it raises may pass, not even SystemExit."""
    try:
        method(*args)
    except catch:
        logger.exception("hook %s failed; going on without it", getattr(method, "__qualname__", method))
