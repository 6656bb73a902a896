"""Workers under the names and with the arguments that Channels 1 gave them, and Channels 2 to 4."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import workers
from channel_layer.channel import Message
from routing import Router
from workers.channel_filter import filter_channels

from .configured_layers import ChannelLayerWrapper
from .runtime.hooks import DjangoHook
from .runtime.sync_threads import SyncThreads
from .scope.application_worker import ApplicationWorker

__all__ = ["Worker", "WorkerGroup"]

Callback = Callable[[str, Message], None]


class Worker:
    """Takes messages off a layer and runs their consumers, one at a time.

    With the arguments that Channels 2 to 4 gave it, ``Worker(application, channels, channel_layer,
    max_applications=1000)``, it is the worker of theirs, an `ApplicationWorker`.

    Args:
        channel_layer: a layer with a ``router``, for example ``channel_layers["default"]``.
        callback: called with the channel's name and the message before each consumer.
        message_retries: how often a message may be consumed later.
        signal_handlers: stop on SIGTERM and SIGINT, if `run` is called in the main thread.
        only_channels, exclude_channels: globs that narrow down the channels.

    Attributes:
        termed: whether the worker has been told to stop. Set it to have `run` finish what was taken and
            return; any thread may.
    """

    n_threads = 1

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make a worker of the generation whose arguments these are."""
        if "application" in kwargs or "channels" in kwargs or (len(args) > 2 and _are_channels(args[1])):
            return ApplicationWorker(*args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        channel_layer: ChannelLayerWrapper,
        callback: Callback | None = None,
        message_retries: int = 10,
        signal_handlers: bool = True,
        only_channels: Collection[str] | None = None,
        exclude_channels: Collection[str] | None = None,
    ) -> None:
        self.channel_layer = channel_layer
        self.callback = callback
        self.message_retries = message_retries
        self.signal_handlers = signal_handlers
        self.only_channels = only_channels
        self.exclude_channels = exclude_channels
        self.termed = False
        self._is_ready = False

    @property
    def router(self) -> Router:
        """The router of the layer."""
        return self.channel_layer.router

    def stop(self) -> None:
        """Have `run` finish what was taken and return; callable from any thread."""
        self.termed = True

    def apply_channel_filters(self, channels: Iterable[str]) -> list[str]:
        """Those of the channels that this worker listens on, as they come; raises `ValueError` if that is none."""
        return filter_channels(channels, self.only_channels or (), self.exclude_channels or ())

    def ready(self) -> None:
        """Send the signal `worker_ready`. `run` does it otherwise; it is sent once."""
        self._tell_ready(self)

    def run(self) -> None:
        """Work until the worker is told to stop; blocks.

        Raises:
            ValueError: the globs leave no channel.
        """
        if not self.termed:
            _Engine(self).run()

    def _tell_ready(self, worker: object) -> None:
        if not self._is_ready:
            self._is_ready = True
            DjangoHook().worker_ready(worker)


def _are_channels(argument: Any) -> bool:
    """True for names of channels, which stand where Channels 1 had a callback."""
    return argument is not None and not callable(argument)


class WorkerGroup(Worker):
    """A `Worker` with several threads.

    Args:
        n_threads: how many consumers run at the same time; by default one for each processor.
        args, kwargs: those of `Worker`.

    Raises:
        ValueError: for less than one thread.
    """

    def __init__(self, *args: Any, n_threads: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.n_threads = (os.cpu_count() or 1) if n_threads is None else n_threads
        if self.n_threads < 1:
            raise ValueError(f"a group of workers needs at least one thread, not {n_threads}")


class _Engine(workers.Worker):
    """The worker behind a face. It asks the face for all that a subclass may define anew."""

    def __init__(self, face: Worker) -> None:
        self._face = face
        super().__init__(
            face.channel_layer,
            threads=face.n_threads,
            only_channels=face.only_channels,
            exclude_channels=face.exclude_channels,
            hooks=[_FaceHook(face)],
            sync_side=SyncThreads(face.n_threads),
            message_retries=face.message_retries,
            signal_handlers=face.signal_handlers,
        )

    def choose_channels(self, channels: Iterable[str], only: Collection[str], exclude: Collection[str]) -> list[str]:
        """See `workers.Worker.choose_channels`. The face decides, which knows the globs."""
        return filter_channels(self._face.apply_channel_filters(channels))

    @property
    def termed(self) -> bool:
        """True once this worker or its face has been told to stop."""
        return self._told or bool(self._face.termed)

    @termed.setter
    def termed(self, value: bool) -> None:
        self._told = value
        if value:
            self._face.termed = True


class _FaceHook(DjangoHook):
    """The work around a consumer, and the callback; to the outside the face is the worker."""

    def __init__(self, face: Worker) -> None:
        self._face = face

    def worker_process_ready(self, worker: object) -> None:
        """See `Hook.worker_process_ready`."""
        super().worker_process_ready(self._face)

    def worker_ready(self, worker: object) -> None:
        """See `Hook.worker_ready`."""
        self._face._tell_ready(self._face)

    def before(self, message: Message) -> None:
        """See `Hook.before`."""
        super().before(message)
        if self._face.callback is not None:
            self._face.callback(message.channel.name, message)
