"""A worker: threads that take messages off a layer and run their consumers."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from typing import Any

from .hooks import Hook, Hooks
from .intake import Intake
from .runner import Runner
from .selection import select_channels
from .sender import Sender

logger = logging.getLogger(__name__)

MONITOR_SECONDS = 0.05
HUNG_SECONDS = 60.0
"""After how long in one consumer a thread is reported as hung."""

OnMessage = Callable[[Any, float, str], None]
"""Called after each consumer with the message, the seconds it took, and how it ended."""


class Worker:
    """Receives messages from a layer and runs consumers in threads.

    Args:
        channel_layer: the layer; if ``router`` is not given it has one as ``channel_layer.router``.
        router: gives consumers for messages, and the names of the channels to listen on.
        threads: consumers that run at the same time.
        only_channels, exclude_channels: globs that narrow down the channels.
        hooks: see `Hook`.
        message_retries: how often a message may be consumed later.
        grace: seconds that running consumers get when the worker stops.
        signal_handlers: stop on SIGTERM and SIGINT, if `run` is called in the main thread.
        on_message: see `OnMessage`.

    Raises:
        ValueError: the globs leave no channel.
    """

    def __init__(
        self,
        channel_layer: Any,
        router: Any = None,
        *,
        threads: int = 4,
        only_channels: Collection[str] | None = None,
        exclude_channels: Collection[str] | None = None,
        hooks: Iterable[Hook] = (),
        message_retries: int = 10,
        grace: float = 30.0,
        signal_handlers: bool = True,
        on_message: OnMessage | None = None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"a worker needs at least one thread, not {threads}")
        router = router if router is not None else channel_layer.router
        self.channel_layer = channel_layer
        self.channels = select_channels(router.channels, only_channels or (), exclude_channels or ())
        self.threads = threads
        self.grace = grace
        self.termed = False
        self._signal_handlers = signal_handlers
        self._on_message = on_message
        self._hooks = Hooks(hooks)
        self._stop = threading.Event()
        self._sender = Sender(self._stop.is_set)
        self._intake = Intake(channel_layer, self.channels, self._sender.flush)
        self._runner = Runner(channel_layer, router, self._hooks, message_retries)
        self._busy: dict[threading.Thread, tuple[float, str]] = {}
        self._reported: set[threading.Thread] = set()

    def run(self) -> bool:
        """Work until `stop` is called or a signal arrives; blocks.

        Then no more messages are taken, those taken are finished and what they send is sent.

        Returns:
            Whether everything was finished within the grace period.
        """
        restore = self._install_signal_handlers()
        try:
            self._hooks.worker_process_ready(self)
            team = [
                threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
                for number in range(1, self.threads + 1)
            ]
            for thread in team:
                thread.start()
            self.ready()
            self._supervise(team)
            return self._finish(team)
        finally:
            restore()

    def ready(self) -> None:
        """Tell the hooks that messages are being taken."""
        self._hooks.worker_ready(self)

    def stop(self) -> None:
        """Have `run` finish and return; callable from any thread and from signal handlers."""
        self.termed = True
        self._stop.set()

    def _work(self) -> None:
        thread = threading.current_thread()
        intake, sender, pace = self._intake, self._sender, self._intake.pace
        while (delivery := intake.next()) is not None:
            started = time.perf_counter()
            self._busy[thread] = (started, delivery.channel)
            outbox, outcome, message = self._runner.run(delivery)
            seconds = time.perf_counter() - started
            del self._busy[thread]
            pace.record(seconds)
            sender.add(outbox)
            if self._on_message is not None:
                self._on_message(message, seconds, outcome)
        sender.flush()
        self._runner.close_thread()

    def _supervise(self, team: list[threading.Thread]) -> None:
        """Until the stop: give back what nobody gets to, report threads that hang."""
        before = (0, 0)
        while not self._stop.wait(MONITOR_SECONDS):
            waiting = self._intake.waiting()
            if waiting[0] and waiting == before:
                self._guarded(self._intake.put_back_stuck)
                self._guarded(self._sender.flush)
            before = waiting
            self._report_hung()

    def _report_hung(self) -> None:
        now = time.perf_counter()
        for thread, (started, channel) in list(self._busy.items()):
            if now - started < HUNG_SECONDS:
                self._reported.discard(thread)
            elif thread not in self._reported:
                self._reported.add(thread)
                frame = sys._current_frames().get(thread.ident or 0)
                stack = "".join(traceback.format_stack(frame)) if frame else ""
                logger.warning(
                    "%s has been in a consumer of %s for %d s and takes no other messages\n%s",
                    thread.name, channel, now - started, stack,
                )  # fmt: skip

    def _finish(self, team: list[threading.Thread]) -> bool:
        deadline = time.monotonic() + self.grace
        logger.info("stopping: no more messages are taken, waiting up to %g s for running consumers", self.grace)
        while any(thread.is_alive() for thread in team) and time.monotonic() < deadline:
            # Again and again, for a thread that was just about to wait for a message the first time.
            self._guarded(self._intake.stop)
            for thread in team:
                thread.join(MONITOR_SECONDS / len(team))
        hung = [thread for thread in team if thread.is_alive()]
        for thread in hung:
            _, channel = self._busy.get(thread, (0.0, "a channel"))
            logger.error("%s is still in a consumer of %s after %g s; it is left behind", thread.name, channel, self.grace)
        self._guarded(self._intake.put_back_stuck)
        self._guarded(self._sender.flush)
        return not hung

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            logger.exception("%s failed; going on", action.__qualname__)

    def _install_signal_handlers(self) -> Callable[[], None]:
        if not self._signal_handlers or threading.current_thread() is not threading.main_thread():
            return lambda: None
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def _on_signal(self, number: int, frame: Any) -> None:
        self.stop()
