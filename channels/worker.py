"""Workers under the names and with the arguments of Channels 1; see `workers.Worker`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import workers

from .hooks import DjangoHook

__all__ = ["Worker", "WorkerGroup"]

Callback = Callable[[str, Any], None]
"""Called with the channel and the message after each consumer."""


class WorkerGroup(workers.Worker):
    """A worker with several threads, and with what Django needs around its consumers.

    Args:
        channel_layer: a layer with a router, as ``channel_layers[alias]`` is.
        callback: see `Callback`.
        message_retries: how often a message may be consumed later.
        signal_handlers: stop on SIGTERM and SIGINT, if `run` is called in the main thread.
        only_channels: globs; listen only on channels that match one.
        exclude_channels: globs; do not listen on channels that match one.
        n_threads: consumers that run at the same time.
    """

    def __init__(
        self,
        channel_layer: Any,
        callback: Callback | None = None,
        message_retries: int = 10,
        signal_handlers: bool = True,
        only_channels: Collection[str] | None = None,
        exclude_channels: Collection[str] | None = None,
        n_threads: int = 4,
    ) -> None:
        def on_message(message: Any, seconds: float, outcome: str) -> None:
            if callback is not None:
                callback(message.channel.name, message)

        super().__init__(
            channel_layer,
            threads=n_threads,
            only_channels=only_channels,
            exclude_channels=exclude_channels,
            hooks=[DjangoHook()],
            message_retries=message_retries,
            signal_handlers=signal_handlers,
            on_message=on_message if callback is not None else None,
        )


class Worker(WorkerGroup):
    """A worker that runs one consumer at a time; arguments as those of `WorkerGroup`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"n_threads": 1, **kwargs})
