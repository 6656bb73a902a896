"""`Worker`: threads that take messages off a layer and run their consumers, and an event loop for coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from types import FrameType
from typing import Any

from channel_layer import tracing
from channel_layer.channel import Message
from channel_layer.delivery import Delivery
from channel_layer.facts import Identity, State, lost_by_layer
from channel_layer.heap import KEPT_SECONDS, heap
from channel_layer.layer import ChannelLayer
from channel_layer.messages import RESUME
from channel_layer.questions import FORMAT
from channel_layer.registry import channel_layers
from routing.routes import MessageRouter

from .async_limit import Admission, AsyncLimit
from .async_runner import AsyncRunner
from .channel_filter import filter_channels
from .event_loop import EventLoop
from .exceptions import ConsumeLater, LeaveToOthers
from .facts import Facts, name_of
from .fetcher import Fetcher
from .hangs import Busy, Hangs, stack_of_thread
from .hooks import Hook, Hooks
from .instances import INSTANCES, Hosted, Instances
from .lifespan import Lifespan
from .notices import Notices, Running
from .reporter import Reporter
from .runner import Finished, PendingCoroutine, Runner
from .sender import Sender
from .stacks import log_with_stack
from .stop_signals import handling_stop_signals
from .streams import SHARE_AT_STOP, STREAMS, Streams, current_streams
from .sync_side import SyncSide
from .tracing import TracingHook
from .watchdog import Watchdog
from .wear import Wear

logger = logging.getLogger(__name__)

MONITOR_SECONDS = 0.05
"""The time between two looks of the main thread at the others."""

IDLE_MONITOR_SECONDS = 0.2
"""The same while there is nothing to look after: it is most of what an idle worker does."""

ASYNC_TASKS = 100
"""``async def`` consumers that run at the same time by default."""

IDLE_SECONDS = 1800.0
"""The time without an event after which an instance is let go by default."""

LET_GO_SECONDS = 0.5
"""The time between two tries to let go of instances when the worker stops."""

FAREWELL_SECONDS = 1.0
"""The time that an application has to end even if the grace period is over."""

UNBEGUN_SECONDS = 0.25
"""The time a coroutine may wait for room on the event loop before its message goes back to its channel."""

TAKEN_OVER = frozenset({RESUME})
"""Channels of which a worker that has many instances takes nothing while others have fewer."""

OnMessage = Callable[[Message, float, str], None]
"""Called after each consumer with the message, the seconds it took, and its `workers.runner.Outcome`."""


class Worker:
    """Receive messages from a layer and run consumers in threads, ``async def`` consumers on an event loop.

    The loop has a thread of its own, started with the first coroutine. Consumers may leave a
    `Stream` that goes on there.

    Args:
        channel_layer: the layer; if ``router`` is not given it has one as ``channel_layer.router``.
        router: finds the consumers of messages, and names the channels to listen on.
        threads: consumers that run at the same time.
        async_tasks: ``async def`` consumers that run at the same time, beside those in threads. While they
            are so many, messages on the channels where such consumers have turned up stay there.
        streams: streams that run at the same time; see `Stream`.
        instances: applications of Channels 2 to 4, one for each connection, that live here at a time.
        idle_seconds: the time without an event after which an instance is let go; another worker may make it again.
        only_channels, exclude_channels: globs that narrow down the channels.
        hooks: see `Hook`.
        message_retries: the number of times that a message may be consumed later.
        grace: seconds that running consumers get when the worker stops. Streams without a known end get the part
            `SHARE_AT_STOP` of it.
        hung_seconds: the time in one consumer after which a thread is reported in the log, with its stack.
        consumer_timeout: the time after which a consumer is given up, and the worker stops for its process to be
            replaced unless it could be ended alone; see `Hangs`. For ever if it is not given.
        wear: says when the process has done enough; then the worker stops for it to be replaced.
        watchdog: is given heartbeats, and ends the process without them.
        signal_handlers: stop on SIGTERM and SIGINT, if `run` is called in the main thread. A SIGINT
            while the worker stops ends the waiting for consumers; a second SIGTERM does not, because
            process managers send it to every process and supervisors pass it on.
        on_message: see `OnMessage`.
        sync_side: runs the sync code around ``async def`` consumers.
        lifespan: of the application whose instances live here; if it is not given the layer may have one as
            ``channel_layer.lifespan``.
        parent: process ID of the supervisor, for the reports of this worker.

    Attributes:
        termed: true once it stops.
        replaced_for: why another process has to take its place; ``None`` if it does not stop by itself.

    Raises:
        ValueError: the globs leave no channel, or a number is less than 1.
        TypeError: there is no router.
    """

    def __init__(
        self,
        channel_layer: ChannelLayer,
        router: MessageRouter | None = None,
        *,
        threads: int = 4,
        async_tasks: int = ASYNC_TASKS,
        streams: int = STREAMS,
        instances: int = INSTANCES,
        idle_seconds: float = IDLE_SECONDS,
        only_channels: Collection[str] | None = None,
        exclude_channels: Collection[str] | None = None,
        hooks: Iterable[Hook] = (),
        message_retries: int = 10,
        grace: float = 30.0,
        hung_seconds: float = 60.0,
        consumer_timeout: float | None = None,
        wear: Wear | None = None,
        watchdog: Watchdog | None = None,
        signal_handlers: bool = True,
        on_message: OnMessage | None = None,
        sync_side: SyncSide | None = None,
        lifespan: Lifespan | None = None,
        parent: int | None = None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"a worker needs at least one thread, not {threads}")
        if async_tasks < 1:
            raise ValueError(f"a worker needs room for at least one async def consumer, not {async_tasks}")
        if streams < 1:
            raise ValueError(f"a worker needs room for at least one stream, not {streams}")
        if instances < 1:
            raise ValueError(f"a worker needs room for at least one instance, not {instances}")
        router = router if router is not None else getattr(channel_layer, "router", None)
        if router is None:
            raise TypeError(f"a worker needs a router: give it one, for {channel_layer.describe()} has none")
        self.channel_layer = channel_layer
        self.router = router
        self.channels = self.choose_channels(router.channels, only_channels or (), exclude_channels or ())
        self.threads = threads
        self.grace = grace
        self.hung_seconds = hung_seconds
        self.termed = False
        self.replaced_for: str | None = None
        self._wear = wear
        self._watchdog = watchdog
        self._impatient = False
        self._signal_handlers = signal_handlers
        self._on_message = on_message
        self._hooks = Hooks([TracingHook(), *hooks] if tracing.is_on else hooks)
        self._facts = Facts()
        self._identity = Identity("worker", parent)
        self._reporter = Reporter(channel_layer, f"worker.{secrets.token_urlsafe(12)}", self.report, self.stop)
        self.ticked = self._gave_back_at = time.monotonic()
        self._sender = Sender(channel_layer, lambda: self.termed, self._facts)
        self._async_limit = AsyncLimit(async_tasks)
        self._fetcher = Fetcher(channel_layer, self.channels, self._sender, self._async_limit, self._facts)
        self._sync_side = sync_side if sync_side is not None else SyncSide()
        self._lifespan: Lifespan | None = lifespan or getattr(channel_layer, "lifespan", None)
        self._loop = EventLoop(self._close_async_side)
        self._streams = Streams(streams, channel_layer, self._loop, self._sync_side, self.name)
        self._instances = Instances(
            instances, channel_layer, self._loop, self._streams.inbox, self._sync_side, self._hooks
        )
        self._idle_seconds = idle_seconds
        self._look_for_quiet_at = 0.0
        self._runner = Runner(
            channel_layer,
            router,
            self._hooks,
            message_retries,
            self._sender.add_later,
            self._streams.begin,
            self._host,
            self._facts,
        )
        self._async_runner = AsyncRunner(
            self._loop,
            self._async_limit,
            self._sync_side,
            lambda finished: self._sender.add_elsewhere(finished[0]),
            self._take_over_here,
            lambda finished: self._sender.has_room_for(finished[0]),
            self._sender.flush,
        )
        self._notices = Notices(
            channel_layer, lambda layer, item: self._sender.add_later(0, layer, item), self.name, self._consumer_of
        )
        self._busy: Busy = {}
        self._reported: set[Delivery] = set()
        self._hangs: Hangs | None = None
        if consumer_timeout is not None:
            self._hangs = Hangs(
                consumer_timeout, channel_layer, self._busy, self._streams.progress, self._async_runner,
                self._instances, self._loop, self._sync_side,
                lambda layer, item: self._sender.add_later(0, layer, item), self.stop_for_another,
            )  # fmt: skip

    def choose_channels(self, channels: Iterable[str], only: Collection[str], exclude: Collection[str]) -> list[str]:
        """The routed channels to listen on; raises `ValueError` if that is none."""
        return filter_channels(channels, only, exclude)

    def run(self) -> bool:
        """Work until `stop` is called or a signal arrives; blocks. For one call only.

        Then no more messages are taken, the consumers of those taken are finished and their messages sent. Messages
        that no thread has begun after the grace period go back to their channels.

        Returns:
            True if everything was finished within the grace period.

        Raises:
            StartupFailed: the application of the `Lifespan` has refused to start; no message was taken.
        """
        team: list[threading.Thread] = []
        with handling_stop_signals(self._on_signal) if self._signal_handlers else nullcontext():
            self._hooks.worker_process_ready(self)
            try:
                self._start_application()
                self._watch_over()  # the very first message may hold the interpreter for ever
                team += [self._start_thread(number) for number in range(1, self.threads + 1)]
                self._reporter.start()
                self.ready()
                if RESUME in self.channels:
                    self._instances.listen()
                self._supervise(team)
            finally:
                self.stop()
                self._reporter.drain()
                finished = self._finish(team)
                self._reporter.end()
        return finished

    @property
    def name(self) -> str:
        """The name of this process in reports."""
        return self._reporter.name

    @property
    def reaches_layer(self) -> bool:
        """True if the layer has answered the last receive, or, before that, has kept a report."""
        return self._facts.up and (self._facts.receives > 0 or self._reporter.reached)

    def report(self, state: State) -> dict[str, Any]:
        """Make a report of this worker; see ``workers.facts``. May be called from any thread."""
        facts, now = self._facts, time.perf_counter()
        busy = self._in_threads()
        tasks = self._async_runner.running()
        layer = self.channel_layer
        lost = lost_by_layer(layer.counters) if hasattr(layer, "counters") else {}
        return {
            **self._identity.content(state),
            "questions": FORMAT,
            **facts.content(),
            "channels": list(self.channels),
            "threads": self.threads,
            "busy": len(busy),
            "busy_seconds": max((now - started for started, _, _ in [*busy, *tasks]), default=0.0),
            "tasks": len(tasks),
            "streams": self._streams.count,
            "instances": self._instances.count,
            "leases": self._instances.leases(),
            "checkpoints": self._instances.checkpoints,
            "layer": {
                "up": facts.up,
                "receives": facts.receives,
                "failures": facts.failures,
                "lost": {**facts.lost, **lost},
            },
        }

    def ready(self) -> None:
        """Tell the hooks that messages are being taken."""
        self._hooks.worker_ready(self)

    def stop(self) -> None:
        """Have `run` finish and return; callable from any thread and from signal handlers."""
        # A plain attribute: a signal handler that takes a lock may find it held by the very thread it interrupts.
        self.termed = True

    def stop_for_another(self, reason: str) -> None:
        """Have `run` finish and return, since the process is to be replaced; a stop that is under way goes on."""
        if not self.termed:
            self.replaced_for = reason
            logger.warning("this worker stops, for another to take its place: %s", reason)
            self.stop()

    def _host(self, hosted: Hosted, delivery: Delivery) -> None:
        if self.termed or self._instances.is_full:
            if not hosted.epoch:  # the client of a handshake does not wait for long
                raise ConsumeLater
            self._leave_out_taken_over()
            raise LeaveToOthers
        self._instances.begin(hosted, delivery.taken_at)

    def _start_application(self) -> None:
        """Wait until the application has started, or the worker is told to stop."""
        if self._lifespan is not None:
            start = asyncio.run_coroutine_threadsafe(self._lifespan.start(self._sync_side), self._loop.get())
            while not self.termed and not start.done():
                concurrent.futures.wait([start], MONITOR_SECONDS)
            if start.done():
                start.result()
            else:
                start.cancel()

    def _stop_application(self, seconds: float) -> bool:
        """Have the application end, and wait for it; returns false if it has not ended well in time."""
        loop = self._loop.running
        if self._lifespan is None or loop is None:
            return True
        end = asyncio.run_coroutine_threadsafe(self._lifespan.stop(), loop)
        concurrent.futures.wait([end], seconds)
        if end.done():
            return end.result()
        end.cancel()
        logger.error("the application has not ended within %.3g s (lifespan.shutdown) and is left behind", seconds)
        return False

    def _start_thread(self, number: int) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        """Take and run messages, in a thread of its own. Nothing that happens to one message ends it."""
        current_streams.set(self._streams)
        thread = threading.current_thread()
        fresh = contextvars.copy_context()
        try:
            while (taken := self._fetcher.next()) is not None:
                delivery, admission = taken
                try:
                    # A language or a time zone that code sets ends with its message.
                    fresh.copy().run(self._run, thread, delivery, admission)
                except BaseException:
                    logger.exception("a message on %s could not be dealt with", delivery.channel)
            self._sender.flush()
        finally:
            self._hooks.thread_ended()

    def _run(self, thread: threading.Thread, delivery: Delivery, admission: Admission) -> None:
        """Run a message in the calling thread, or have its coroutine run on the event loop."""
        started = time.perf_counter()
        # The reply channel as it is now: the consumer may change the message.
        self._busy[delivery] = (thread, started, delivery.message.get("reply_channel"))
        try:
            result = self._runner.begin(delivery)
        except BaseException:
            self._async_limit.give_up(admission)
            raise
        finally:
            given_up = self._busy.pop(delivery, None) is None
            seconds = time.perf_counter() - started
            # The time that a coroutine waits keeps no thread, so it does not count here.
            self._fetcher.pace.record(seconds)
        if given_up:
            logger.warning(
                "%s is back from %s after %.3g s; what it sent is dropped", thread.name, delivery.channel, seconds
            )
            self._async_limit.give_up(admission)
            if isinstance(result, PendingCoroutine):
                result.abandon()
        elif isinstance(result, PendingCoroutine):
            self._async_limit.keep(delivery.channel, admission)
            try:
                self._async_runner.begin(result)
            except BaseException:
                self._async_limit.release()
                raise
        else:
            self._async_limit.give_up(admission)
            self._take_over(result, seconds)

    def _take_over(self, finished: Finished, seconds: float) -> None:
        """Pass on the messages of a consumer in a thread, which waits if there is no room for more, and report it."""
        self._sender.add(finished[0])
        self._report_finished(finished, seconds)

    def _take_over_here(self, finished: Finished, seconds: float) -> None:
        """Do the same for a coroutine without waiting for room; what goes to other layers is on its way already."""
        self._sender.add_here(finished[0])
        self._report_finished(finished, seconds)

    def _report_finished(self, finished: Finished, seconds: float) -> None:
        """Count the end of a consumer, and report it to ``on_message``."""
        _, outcome, message, consumer = finished
        self._facts.ran(message.channel.name, outcome, consumer, seconds)
        if self._on_message is not None:
            self._on_message(message, seconds, outcome)

    def _supervise(self, team: list[threading.Thread]) -> None:
        """Put stuck messages back, send what is due, and watch over the threads, until the stop."""
        while not self.termed:
            self._pause()
            self.ticked = time.monotonic()
            self._guarded(self._fetcher.put_back_stuck)
            self._guarded(self._tell_senders)
            self._guarded(self._instances.beat)
            self._guarded(self._watch_over)
            self._let_go_of_quiet()
            self._guarded(self._level)
            # All threads may be in consumers, and messages that a full channel refused may be due again.
            self._sender.flush()
            self._report_hung()
            self._put_back_unbegun(UNBEGUN_SECONDS)
            self._guarded(lambda: self._async_runner.report_hung(self.hung_seconds))
            self._guarded(self._look_at_wear)
            self._give_back_freed()
            for index, thread in enumerate(team):
                # A thread never ends by itself, but may do so all the same, short of memory for example.
                if not thread.is_alive() and not self.termed:
                    logger.error("%s has ended unexpectedly; another takes its place", thread.name)
                    for delivery, run in list(self._busy.items()):
                        if run[0] is thread:
                            self._busy.pop(delivery, None)
                    team[index] = self._start_thread(index + 1)

    def _pause(self) -> None:
        """Wait a moment, and meanwhile have channels fetched again for which there are places again."""
        idle = not self._busy and self._async_runner.is_idle and self._sender.is_empty
        deadline = time.monotonic() + (IDLE_MONITOR_SECONDS if idle else MONITOR_SECONDS)
        while not self.termed and (remaining := deadline - time.monotonic()) > 0:
            if self._async_limit.freed.wait(remaining):
                self._async_limit.freed.clear()
            self._guarded(self._fetcher.let_in)

    def _let_go_of_quiet(self) -> None:
        now = time.monotonic()
        if now >= self._look_for_quiet_at:
            self._look_for_quiet_at = now + min(self._idle_seconds, IDLE_SECONDS) / 10
            self._instances.let_go_of_quiet(self._idle_seconds)

    def _level(self) -> None:
        """Give instances to workers that have fewer, which alone take them over meanwhile."""
        self._instances.level()
        self._leave_out_taken_over()

    def _leave_out_taken_over(self) -> None:
        """Have other workers take over the instances that are made again, as long as this one is not to."""
        others = self._instances.holds_back or self._instances.is_full
        self._fetcher.leave_out(TAKEN_OVER if others else frozenset())

    def _tell_senders(self) -> None:
        """Tell the senders of messages whose consumers are slow; see `Notices`."""
        self._notices.look([*self._in_threads(), *self._async_runner.running()])

    def _consumer_of(self, delivery: Delivery) -> str:
        """The name of the consumer of a message. It is matched again, but only slow messages are told of."""
        match = self.router.match(Message(delivery.message, delivery.channel, self.channel_layer, delivery.headers))
        return name_of(match[0] if match is not None else None)

    def _in_threads(self) -> list[Running]:
        return [(started, delivery, reply) for delivery, (_, started, reply) in list(self._busy.items())]

    def _watch_over(self) -> None:
        """Give a heartbeat, and look for what does not give any."""
        if self._watchdog is not None:
            self._watchdog.beat(self)
        self._loop.watch(busy=not self._is_async_side_idle)
        if self._hangs is not None:
            self._hangs.look()

    def _give_back_freed(self) -> None:
        if heap.keeps_freed and self.ticked - self._gave_back_at >= KEPT_SECONDS:
            self._gave_back_at = self.ticked
            heap.give_back()

    def _look_at_wear(self) -> None:
        if self._wear is not None:
            verdict = self._wear.verdict(self._fetcher.handed_out + self._streams.inbox.received)
            if verdict is not None:
                self.stop_for_another(verdict)

    def _report_hung(self) -> None:
        """Report threads that have been in one consumer for long, each once."""
        now = time.perf_counter()
        self._reported &= self._busy.keys()
        for delivery, (thread, started, _) in list(self._busy.items()):
            if now - started >= self.hung_seconds and delivery not in self._reported:
                self._reported.add(delivery)
                log_with_stack(
                    logger, logging.WARNING, stack_of_thread(thread),
                    "%s has been in a consumer of %s for %.3g s and takes no other messages",
                    thread.name, delivery.channel, now - started,
                )  # fmt: skip

    def _finish(self, team: list[threading.Thread]) -> bool:
        """Wait for running consumers, then end everything; returns true if nothing had to be broken off."""
        began = time.monotonic()
        self._instances.let_go()
        logger.info("stopping: no more messages are taken, waiting up to %g s for running consumers", self.grace)
        let_go_at = began + LET_GO_SECONDS
        while (
            (any(self._is_waited_for(thread) for thread in team) or not self._is_async_side_over)
            and (spent := time.monotonic() - began) < self.grace
            and not self._impatient
        ):
            self.ticked = time.monotonic()
            if spent >= self.grace * SHARE_AT_STOP:
                self._streams.wind_up()
            # Again and again, for a thread that was just about to wait for a message the first time.
            self._guarded(self._fetcher.stop)
            self._put_back_unbegun(UNBEGUN_SECONDS)
            self._guarded(self._tell_senders)
            if not self._has_lost_loop:  # without a heartbeat its connections go on elsewhere
                self._guarded(self._instances.beat)
            self._guarded(self._watch_over)
            if time.monotonic() >= let_go_at:
                let_go_at = time.monotonic() + LET_GO_SECONDS
                self._instances.let_go((time.monotonic() - began) / self.grace)
            self._sender.flush()
            waited_for = [thread for thread in team if self._is_waited_for(thread)]
            for thread in waited_for:
                thread.join(MONITOR_SECONDS / len(team))
            if not waited_for:
                time.sleep(MONITOR_SECONDS / 10)
        hung = [thread for thread in team if thread.is_alive()]
        channels = {run[0]: delivery.channel for delivery, run in list(self._busy.items())}
        for thread in hung:
            if self._is_waited_for(thread):
                channel = channels.get(thread, "a channel")
                logger.error("%s is still in a consumer of %s and is left behind", thread.name, channel)
        self._put_back_unbegun(0)
        left = 0.0 if self._impatient else began + self.grace - time.monotonic()
        all_ended = not self._has_lost_loop
        self._sender.flush()  # who was given up need not wait for the rest
        if all_ended:  # else nothing on the loop hears that it is to end
            all_ended = self._instances.close()
            all_ended = self._streams.close() and all_ended
        all_ended = self._async_runner.close() and all_ended
        if not self._has_lost_loop:
            all_ended = self._stop_application(max(left, FAREWELL_SECONDS)) and all_ended
        self._loop.close()
        self._guarded(self._sync_side.close)
        self._guarded(self._fetcher.put_back_unbegun)
        self._sender.drain(began + self.grace - time.monotonic())
        if self._fetcher.waiting:
            logger.error("%d messages that nobody had begun are lost: the layer is away", self._fetcher.waiting)
        return all_ended and not hung

    @property
    def _has_lost_loop(self) -> bool:
        return self._hangs is not None and self._hangs.has_lost_loop

    @property
    def _is_async_side_over(self) -> bool:
        return self._has_lost_loop or self._is_async_side_idle

    def _is_waited_for(self, thread: threading.Thread) -> bool:
        """True if a thread is still in a consumer, and that may end."""
        return thread.is_alive() and (self._hangs is None or thread not in self._hangs.threads)

    @property
    def _is_async_side_idle(self) -> bool:
        return self._async_runner.is_idle and self._streams.is_idle and self._instances.is_idle

    def _put_back_unbegun(self, seconds: float) -> None:
        """Put the messages of coroutines back that have waited for so long for room on the event loop."""
        unbegun = self._async_runner.take_back(seconds)
        for consumer in unbegun:
            self._guarded(consumer.abandon)
        self._fetcher.put_back([consumer.delivery for consumer in unbegun])
        for _ in unbegun:
            self._async_limit.release()

    async def _close_async_side(self) -> None:
        """Close the layers that are in use on the event loop, all at once: one that is frozen must not keep another."""
        layers = dict.fromkeys((self.channel_layer, *(channel_layers[alias] for alias in channel_layers)))
        await asyncio.gather(*(_close_on_loop(layer) for layer in layers))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Call an action; log an error of it and go on."""
        try:
            action()
        except Exception:
            logger.exception("%s failed; going on", getattr(action, "__qualname__", action))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.termed and number == signal.SIGINT:
            self._impatient = True
        self.stop()


async def _close_on_loop(layer: ChannelLayer) -> None:
    try:
        await layer.aclose()
    except Exception:
        logger.exception("channel layer %s could not be closed on the event loop", layer.describe())
