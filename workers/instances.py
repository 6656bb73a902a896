"""Instances of ASGI applications that live in this worker, one for each connection that it has the lease of.

An instance runs on the event loop for as long as its connection lasts, or until the worker lets go of it. It hears of
events over one inbox, in one order: frames, messages of the layer, the end. An event counts as dealt with when the
application asks for the next one or returns; the interface server keeps it until then. So a worker can let go of an
instance that is quiet, at any time: what it had not begun, the server sends to another worker, which makes the instance
again from the scope of the connection and the last checkpoint.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import random
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from channel_layer import tracing
from channel_layer.codec import EMPTY, pack_body
from channel_layer.delivery import ALIVE, SHARED, Headers, Message, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.layer import ChannelLayer
from channel_layer.messages import CONNECT, DISCONNECT
from channel_layer.names import split
from channel_layer.outbox import stop_collecting

from . import event_loop
from .balance import Ask, Balance, Count, Give
from .event_loop import EventLoop
from .hooks import Hooks
from .inbox import Address, Inbox, Listener
from .lease_questions import ASK_SECONDS, UNANSWERED_SECONDS, LeaseQuestions, Leases
from .outlet import Outlet, Said, is_frame
from .stacks import log_with_stack
from .sync_side import SyncSide
from .tracing import EventSpans

logger = logging.getLogger(__name__)

INSTANCES = 10_000
"""Instances that a worker holds at a time by default."""

BEAT_SECONDS = 2.0
"""The time between two heartbeats to the interface servers whose connections have instances here."""

DOUBT_SECONDS = 5.0
"""A process of which no heartbeat was taken for so long asks whether it still has its leases before it begins
anything. Shorter than the silence after which an interface server takes it for gone."""

HELD_UP_SECONDS = 2.0
UNSTEADY_SECONDS = 60.0
"""A process that was held up for `HELD_UP_SECONDS` asks about each new lease so long afterwards: it may have had the
message for long, and others the connection by now."""

STARTING_AT_A_TIME = 500
STARTING_PAUSE_SECONDS = 0.005
"""Number of instances that wait for the event loop to begin them, beyond which threads wait for it, too."""

SPREAD = (0.1, 0.9)
"""The parts of the grace period between which clients are closed whose applications cannot go on elsewhere."""

HOSTS = "millrace.hosts"
"""Group of the workers that host applications. It is told of connections whose interface server has disappeared."""

LEAVE_AT_A_TIME = 50
LEAVE_PAUSE_SECONDS = 0.005
"""Number of instances that are asked to leave at once when the worker stops, and the time between two such portions."""

PORTION = 64
"""The number of instances that are given an event of many before what they answer to it is written."""

SETTLED_SECONDS = 1.0
"""The time without an event from which on an instance may be given to a worker that has fewer."""

LEFT = 1012
"""Close code for a connection whose application cannot go on elsewhere (IANA, "Service Restart")."""

TASK_NAME = "application"

CLOSED: Message = {"closed": True}
"""News for an instance: its connection is gone."""

GONE: Message = {"gone": True}
"""News for an instance: others have its connection."""

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class NotCarried(Exception):
    """The instance cannot go on in another process; the text names what stands in the way."""


class Hosted(ABC):
    """An application and the connection that it is to be run for. A consumer returns it to have it run.

    Attributes:
        name: for the log.
        reply_channel: name of the connection.
        epoch: how often it has changed hands.
        done: number of the last event that has been dealt with.
        events: pairs of number and event that are there already, in order.
        is_orphan: whether the connection is gone, and its end is all that the application is to hear of.
    """

    __slots__ = ()

    reply_channel: str
    epoch: int
    done: int
    events: list[tuple[int, Event]]
    is_orphan: bool

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    async def run(self, receive: Receive, send: Send) -> None:
        """Run the application until it returns."""

    @abstractmethod
    def reply_to(self, event: Event) -> Message | None:
        """The message for the connection that says what an event of the application says; ``None`` if nothing is said.

        Raises:
            ValueError: the application must not send it, or not now; one sentence.
        """

    def news(self) -> Headers:
        """Headers with the names of what runs and of its user, for operators, as far as they have changed."""
        return {}

    def checkpoint(self) -> bytes:
        """State that another process needs to go on; called between two events.

        Raises:
            NotCarried: it cannot be done.
        """
        raise NotCarried("it is not a consumer of channels, so nothing is known of its state")

    async def hand_over(self) -> bytes | None:
        """State that the application itself gives to the next process; ``None`` if it gives nothing."""
        return None


class Instance(Listener):
    """A `Hosted` that runs, and hears what is sent to its connection. Belongs to the event loop.

    A worker holds thousands of quiet ones, so nothing is kept here that can be made when it is needed.

    Args:
        server: the part of the reply channel that all connections of an interface server have in common.

    Attributes:
        since: when the event in hand began, or the last one was done with.
        broken_off_at: when it was given up because its handler hung.
    """

    __slots__ = (
        "_at_once", "_checkpoint", "_connects", "_current", "_done", "_farewell", "_fresh_checkpoint", "_given_up",
        "_has_lease", "_heard", "_instances", "_is_orphaned", "_knows_end", "_last", "_leaving", "_patience",
        "_pending", "_place", "_receiver", "_said_at", "_spans", "_told", "_told_with", "_waiters", "_was_asked",
        "broken_off_at", "hosted", "in_the_way", "is_muted", "server", "since", "task", "tasks",
    )  # fmt: skip

    def __init__(self, instances: Instances, hosted: Hosted, server: str) -> None:
        self.hosted = hosted
        self.server = server
        self.task: asyncio.Task[None] | None = None
        self.tasks = event_loop.NO_TASKS
        self.since = time.monotonic()
        self.broken_off_at = 0.0
        self.is_muted = False
        self.in_the_way: str | None = None
        self._instances = instances
        self._pending = hosted.events  # a list: few events wait, and a quiet deque takes 600 bytes
        self._current = 0
        self._done = hosted.done
        self._told = hosted.done
        self._told_with = 0
        self._has_lease = False
        self._connects = self._heard = False
        if hosted.events and hosted.events[0][1].get("type") == CONNECT:
            self._connects = True
        else:
            self._heard = True
        self._checkpoint: bytes | None = None
        self._fresh_checkpoint = False
        self._last: Outgoing | Said | None = None
        self._place = self._said_at = 0
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        self._receiver: asyncio.Task[Any] | None = None
        self._leaving = False
        self._farewell = False
        self._knows_end = False
        self._given_up = False
        self._was_asked = False
        self._patience: float | None = None
        self._is_orphaned = hosted.is_orphan
        self._at_once = False
        self._spans = EventSpans(hosted, instances.hooks) if tracing.is_on or instances.hooks.want_events else None

    @property
    def is_quiet(self) -> bool:
        """True while the application waits for the next event."""
        return not self._current and bool(self._waiters)

    @property
    def is_at_work(self) -> bool:
        """True while it handles an event, or has not asked for its first one."""
        return not self._waiters and (self._current != 0 or self._receiver is None)

    # -- from the connection ---------------------------------------------------------------------

    def deliver(self, message: dict[str, Any], headers: Headers | None) -> None:
        """Take an event, or news of the connection."""
        if "type" in message:
            if headers is not None and "turn" in headers:
                self.take(message, headers["turn"], headers)
        elif message.get("gone"):
            logger.warning("%s is hosted elsewhere by now; its instance here ends", self.hosted.name)
            self.end()
        elif message.get("closed") and not self._is_orphaned:  # said again and again
            self._is_orphaned = True
            if not self._hears_of_end:
                self._push(0, {"type": DISCONNECT, "code": 1006})
            self.wake()

    def take(self, event: Event, turn: int, headers: Headers | None) -> None:
        """Take an event with a number, and with the headers that it came with."""
        if self._spans is not None and headers is not None:
            self._spans.expect(turn, headers)
        if event["type"] != DISCONNECT or not self._hears_of_end:
            self._push(turn, event)

    def _push(self, turn: int, event: Event) -> None:
        self._pending.append((turn, event))
        self.wake()

    @property
    def _hears_of_end(self) -> bool:
        """True if the end of the connection is in hand, or waits to be."""
        return self._knows_end or any(event.get("type") == DISCONNECT for _, event in self._pending)

    def wake(self) -> None:
        """Have the application look for an event."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- for the application ---------------------------------------------------------------------

    async def receive(self) -> Event:
        """The next event; the one before is done with."""
        if self._receiver is None or self.tasks.running:  # else there is just one task
            self._receiver = asyncio.current_task()
        if self._current:
            self._end_turn()
        while True:
            if self._leaving and not self._farewell and not self._is_orphaned and await self._let_go():
                await asyncio.get_running_loop().create_future()  # until it is cancelled
            if self._pending and not self.is_muted and (self._is_orphaned or self._may_begin()):
                turn, event = self._pending.pop(0)
                self._current, self.since = turn or self._done, time.monotonic()
                kind = event.get("type")
                if kind != CONNECT:
                    self._heard = True
                    if kind == DISCONNECT:
                        self._knows_end = True
                if self._spans is not None:
                    self._spans.begin(turn, str(kind))
                return event
            waiter = asyncio.get_running_loop().create_future()
            waiters = self._waiters = (*self._waiters, waiter)  # one, and so smaller than a list
            try:
                await waiter
            finally:
                alone = self._waiters is waiters and len(waiters) == 1
                self._waiters = () if alone else tuple(other for other in self._waiters if other is not waiter)

    def _may_begin(self) -> bool:
        """True if the next event may begin: the lease holds, and the server has the end of the one before.

        Were this process killed, the server would else take that one for the event in hand, and have others run the
        next one again.
        """
        outlet = self._instances.outlet
        if self._told != self._done or not outlet.has_written(self._told_with):
            outlet.wake_later(self)
            return False
        return self._instances.trusts(self.server)

    async def send(self, event: Event) -> None:
        """Send an event to the connection; waits while too much waits to be sent."""
        reply = self.hosted.reply_to(event)
        if reply is None or self.is_muted or self._farewell:
            return
        self._say(reply)
        if self._instances.outlet.is_crowded:
            await self._instances.outlet.room()

    def _end_turn(self) -> None:
        self._done, self._current, self._connects = self._current, 0, False
        if self._spans is not None:
            self._spans.end()
        self.since = time.monotonic()
        self._take_checkpoint()
        if self._last is None:  # else it will be asked anyway
            self._instances.outlet.ask(self)

    def _take_checkpoint(self) -> None:
        if self._connects:
            return
        try:
            # The application may have made a task to wait for events.
            for task in self.tasks.running:
                if task is not self._receiver and not task.done():
                    raise NotCarried(f"the task {task.get_name()!r} that it has started still runs")
            checkpoint: bytes | None = self.hosted.checkpoint()
            self.in_the_way = None
        except NotCarried as reason:
            checkpoint, self.in_the_way = None, str(reason)
        except Exception as error:
            checkpoint, self.in_the_way = None, f"its state cannot be carried: {error!r}"
        if checkpoint != self._checkpoint:
            self._checkpoint, self._fresh_checkpoint = checkpoint, True

    def tasks_over(self) -> None:
        """Tasks of its own stand in the way no more: a handler may have cancelled them just before it returned."""
        if self.is_quiet and self.in_the_way is not None and not self.is_muted:
            self._take_checkpoint()
            self._instances.outlet.ask(self)

    # -- to the connection -----------------------------------------------------------------------

    def _say(self, message: dict[str, Any], **more: Any) -> None:
        if self._is_orphaned:
            return  # nobody is there to hear
        outlet, hosted = self._instances.outlet, self.hosted
        if self._has_lease and not more and is_frame(message):
            said = outlet.say(self, self.server, hosted.reply_channel, hosted.epoch, message, self._said_at)
            self._last, self._said_at, self._place = said, said.number, len(said.addresses) - 1
            return
        headers: Headers = {"epoch": hosted.epoch, **more}  # type: ignore[typeddict-item]
        item = self._instances.layer.prepare(hosted.reply_channel, message, headers)
        if not self._has_lease:
            assert item.headers is not None
            item.headers["lease"], self._has_lease = self.channel, True
            item.headers.update(hosted.news())
        outlet.add(item, self)
        self._last, self._said_at = item, outlet.added

    def introduce(self) -> None:
        """Tell the connection who has it."""
        if not self._has_lease:
            self._say({})

    def last_words(self) -> Outgoing | None:
        """See `Speaker.last_words`: the number of the last event that is done, and a new checkpoint."""
        last, self._last = self._last, None
        if self._told == self._done and not self._fresh_checkpoint:
            return None
        if self.is_muted or self._is_orphaned:
            return None
        item, alone = last, last is None
        if isinstance(item, Said):
            if not item.is_shared:
                item = item.item
            elif self._fresh_checkpoint:
                item, alone = item.take_out(self._place), True
            else:
                item.end_turn(self._place, self._done)
                self._told, self._told_with = self._done, self._instances.outlet.added
                return None
        if item is None:
            item = Outgoing(self.hosted.reply_channel, EMPTY, {"epoch": self.hosted.epoch})
        assert item.headers is not None
        item.headers["turn"] = self._told = self._done
        self._told_with = self._instances.outlet.added + alone
        if self._fresh_checkpoint:
            self._fresh_checkpoint = False
            self._instances.checkpoints += 1
            item.headers["checkpoint"] = self._checkpoint
            item.headers.update(self.hosted.news())  # what has changed may be the user
        return item if alone else None

    # -- the end ---------------------------------------------------------------------------------

    def can_be_left(self) -> bool:
        """True if it is quiet and can go on elsewhere."""
        if self.is_quiet:
            self._take_checkpoint()  # something may have changed it since its last event
        return self.is_quiet and self.in_the_way is None

    def leave(self, share: float = 0.0) -> None:
        """Let go of it as soon as it is quiet. May be called again: what stood in the way may be gone.

        Args:
            share: the part of the worker's grace period that is over. If it cannot go on elsewhere, it is closed at a
                random part of it, so that not all such clients connect again at once.
        """
        self._leaving = True
        if self.is_quiet and not self._farewell:
            self._take_checkpoint()
            if self._patience is None:
                self._patience = random.uniform(*SPREAD)
            if self._was_asked and self.in_the_way is not None and share >= self._patience:
                self.give_up()
            else:
                self.wake()

    def move(self) -> None:
        """Let go of one that `can_be_left`, to have it made again elsewhere at once."""
        self._leaving = self._at_once = True
        self.wake()

    async def _let_go(self) -> bool:
        """Hand the connection back, if the application can go on elsewhere; returns whether that was done."""
        if self.in_the_way is not None and not self._was_asked:
            self._was_asked = True
            state = await self.hosted.hand_over()
            if state is not None:
                self._checkpoint, self._fresh_checkpoint, self.in_the_way = state, True, None
                self._hand_back(at_once=True)
                return True
        if self.in_the_way is None:
            self._hand_back(**({"at_once": True} if self._at_once else {}))
            return True
        if not self._heard:
            # It has heard nothing but the connect: it ends here and begins again elsewhere, behind the open socket.
            self._farewell = True
            self._pending.clear()
            self._pending.append((0, {"type": DISCONNECT, "code": LEFT}))
        return False

    def _hand_back(self, **more: bool) -> None:
        """Say the last word to the connection, whose application goes on elsewhere, and end."""
        headers: dict[str, Any] = {"lease": None, **more}
        if self._connects and not self.hosted.epoch:
            headers["again"] = True  # it has not even begun the handshake's event, the only one not kept elsewhere
        if self._fresh_checkpoint:
            self._instances.checkpoints += 1
            headers["checkpoint"] = self._checkpoint
        self._told, self._fresh_checkpoint = self._done, False
        self._has_lease = True
        self._say({}, turn=self._done, **headers)
        self.end()

    def give_up(self) -> bool:
        """Close its connection although it cannot go on elsewhere; the application hears of that, if it is quiet soon.

        Called again, it is ended.

        Returns:
            Whether an event is broken off.
        """
        if self._given_up:
            self.end()
        if self.is_muted or self._given_up:
            return False
        if self._connects and not self._current:
            self._hand_back()  # it has not even begun
            return False
        logger.warning("%s is closed with %d: %s", self.hosted.name, LEFT, self.in_the_way or "it is still at work")
        self._has_lease = True
        self._say({"close": LEFT, "reason": "service restart"}, turn=self._done, lease=None, ended=True)
        self._given_up = True
        if not self._farewell:
            self._farewell = True
            self._pending[:] = [pair for pair in self._pending if pair[1].get("type") == DISCONNECT]
            if not self._hears_of_end:
                self._push(0, {"type": DISCONNECT, "code": LEFT})
            self.wake()
        return self._current != 0

    def break_off(self, now: float) -> None:
        """End it, whose handler hangs, as if that had raised."""
        log_with_stack(
            logger, logging.ERROR, event_loop.stack_of(self.task) if self.task is not None else "",
            "%s has been in one handler for %.3g s (--consumer-timeout) and is given up",
            self.hosted.name, now - self.since,
        )  # fmt: skip
        if not self._given_up:
            self._say_goodbye(failed=True)
        self.broken_off_at = now
        self.end()

    def last_word(self) -> Outgoing:
        """The message of `break_off`, for somebody else to send: the event loop is blocked."""
        headers: Headers = {"epoch": self.hosted.epoch, "turn": self._current or self._done, "lease": None}
        headers |= {"ended": True, "failed": True}
        return Outgoing(self.hosted.reply_channel, EMPTY, headers)

    def end(self) -> None:
        """End the application without a word to the connection."""
        self.is_muted = True
        self.close()
        if self.task is not None:
            # A moment later, because a task that is cancelled before its first step does not even begin.
            asyncio.get_running_loop().call_soon(self.task.cancel)

    async def drive(self) -> None:
        """Run the application to its end."""
        stop_collecting()
        self.tasks = event_loop.track_tasks(self)
        failed = False
        try:
            self._instances.sync_side.enter()
            await self.hosted.run(self.receive, self.send)
        except asyncio.CancelledError:
            failed = not self.is_muted
            if failed:
                logger.error("%s was cancelled, and not by this worker", self.hosted.name)
        except BaseException as error:  # SystemExit and the like end the application, not the loop
            failed = not self.is_muted
            if failed:
                logger.exception("error in %s", self.hosted.name)
            if self._spans is not None:
                self._spans.end(error)
        finally:
            if self._spans is not None:
                self._spans.end()
            try:
                if not self.is_muted and not self._given_up:
                    self._say_goodbye(failed)
                await event_loop.end_tasks(self.tasks)
                self._instances.sync_side.leave()
            finally:
                self.is_muted = True
                self.close()
                self._instances.forget(self)

    def _say_goodbye(self, failed: bool) -> None:
        self._has_lease = True
        if self._farewell and not failed:
            self._say({}, turn=self._done, lease=None, again=True)
            return
        done = self._current or self._done
        outcome: dict[str, Any] = {"failed": True} if failed else {}
        self._say({}, turn=done, lease=None, ended=True, **outcome)


class Instances:
    """Hold the instances of a worker.

    `listen`, `begin`, `beat`, `level`, `let_go`, `let_go_of_quiet` and `close` may be called from any thread.

    Args:
        most: at a time.
        layer: the worker's layer.
        loop: the worker's event loop.
        inbox: receives for this process.
        sync_side: runs the sync code of applications.
        hooks: told of events.

    Attributes:
        outlet: writes for all of them.
        checkpoints: number of those that were sent.
    """

    def __init__(
        self,
        most: int,
        layer: ChannelLayer,
        loop: EventLoop,
        inbox: Inbox,
        sync_side: SyncSide,
        hooks: Hooks | None = None,
    ) -> None:
        self.layer = layer
        self.hooks = Hooks() if hooks is None else hooks
        self.outlet = Outlet(layer)
        self.sync_side = sync_side
        self._most = most
        self._loop = loop
        self._inbox = inbox
        self._lock = threading.Lock()
        self._starting = 0
        self._running: dict[Instance, None] = {}
        self._servers: dict[str, int] = {}
        self._taken_at: dict[str, float] = {}
        self._questions_to: dict[str, LeaseQuestions] = {}
        self._regained = 0
        self._asked: dict[str, tuple[int, float]] = {}
        self._questions = itertools.count(1)
        self._beat_at = self._called_at = time.monotonic()
        self._steady_since = self._called_at - UNSTEADY_SECONDS
        self._answers: Address | None = None
        self._listening: asyncio.Task[None] | None = None
        self._leaving = False
        self._broken_off = 0
        self._look_for_hung_at = 0.0
        self._hung: list[str] = []
        self._balance: Balance | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._left: set[str] = set()
        self._to_leave: list[Instance] = []
        self.checkpoints = 0

    @property
    def count(self) -> int:
        """Number of those that run."""
        return len(self._running)

    def leases(self) -> dict[str, int]:
        """The number of instances for each interface server, by the name of its process."""
        return {server.rstrip("!"): number for server, number in list(self._servers.items())}

    @property
    def is_idle(self) -> bool:
        """True if there are none, and all that they said is written."""
        return not self._running and not self._starting and self.outlet.is_idle

    @property
    def is_full(self) -> bool:
        """True if there is no room for another."""
        return self._count >= self._most

    @property
    def holds_back(self) -> bool:
        """True while others are to take over the instances that are made again."""
        return self._balance is not None and time.monotonic() < self._balance.holds_back_until

    @property
    def _count(self) -> int:
        return len(self._running) + self._starting

    def listen(self) -> None:
        """Tell the other workers from now on that this one takes instances over."""
        self._balance = Balance()
        self._loop.get().call_soon_threadsafe(self._open)

    def begin(self, hosted: Hosted, taken_at: float = 0.0) -> None:
        """Run an application in a copy of the calling context.

        Blocks while many others are to begin first: its server waits for a sign only so long from when the message for
        it was taken.

        Args:
            taken_at: when that was, by `time.monotonic`; 0 if it was just now.
        """
        while self._starting >= STARTING_AT_A_TIME and not self._leaving:
            time.sleep(STARTING_PAUSE_SECONDS)
        with self._lock:
            self._starting += 1
        begun_at = taken_at or time.monotonic()
        self._loop.get().call_soon_threadsafe(self._start, hosted, contextvars.copy_context(), begun_at)

    def beat(self) -> None:
        """Send a heartbeat to the interface servers, if one is due. Called again and again by one thread."""
        now = time.monotonic()
        if now - self._called_at > HELD_UP_SECONDS:
            self._steady_since = now
            self._expect_no_answers()
        self._called_at = now
        servers, answers = list(self._servers), self._answers
        if now - self._beat_at < BEAT_SECONDS or not servers or answers is None:
            return
        self._beat_at = now
        for server in servers:
            if now - self._taken_at.get(server, now) > DOUBT_SECONDS:
                self._doubt(server)  # before the server takes the heartbeat, which alone would look like trust
        if self._asked:
            self._loop.get().call_soon_threadsafe(self._ask)
        if self._regained != self._inbox.regained:
            self._regained = self._inbox.regained
            self._expect_no_answers()
        heartbeats = [self._heartbeat(server, answers.channel, now) for server in servers]
        try:
            refused = {item.target for item in self.layer.send_batch(heartbeats)}
        except LayerUnavailable as error:
            logger.debug("no heartbeat was taken: %s", error)  # those who send messages say it aloud
            self._expect_no_answers()
            return
        for server, heartbeat in zip(servers, heartbeats, strict=True):
            if heartbeat.target not in refused:
                self._taken_at[server] = now
                if "flow" in (heartbeat.headers or ()) and (questions := self._questions_to.get(server)) is not None:
                    questions.asked(now)

    def _heartbeat(self, server: str, channel: str, now: float) -> Outgoing:
        """A heartbeat, which asks from time to time whether quiet instances still have their connections."""
        questions = self._questions_to.get(server)
        if questions is None:
            questions = self._questions_to[server] = LeaseQuestions(now)
        silence = questions.silence(now)
        if silence >= UNANSWERED_SECONDS:
            logger.warning("%s has given no heartbeat for %.3g s", server, silence)
            questions.answered()  # that is said again if there are any left then
            self._loop.get().call_soon_threadsafe(self._lose_server, server)
        leases = questions.next(now, lambda: self._quiet_leases(server, now - ASK_SECONDS))
        if not leases:
            return Outgoing(server + ALIVE, EMPTY, {"lease": channel})
        return Outgoing(server + ALIVE, pack_body({"leases": leases}), {"lease": channel, "flow": channel})

    def _quiet_leases(self, server: str, before: float) -> Leases:
        """The leases of connections of a server whose instances have heard nothing since then."""
        quiet = [one.hosted for one in list(self._running) if one.server == server and one.since < before]
        return {hosted.reply_channel.removeprefix(server): hosted.epoch for hosted in quiet if not hosted.is_orphan}

    def _expect_no_answers(self) -> None:
        """For some time nothing could be heard of servers."""
        for questions in list(self._questions_to.values()):
            questions.answered()

    def trusts(self, server: str) -> bool:
        """True if it is certain that this process still has its leases of the connections of an interface server.

        If not, it is asked for, and its instances are woken by the answer.
        """
        # In this order: a heartbeat that is taken after a doubt must not hide it.
        if time.monotonic() - self._taken_at[server] <= DOUBT_SECONDS:
            return server not in self._asked
        if server not in self._asked:
            self._doubt(server)
            self._ask()
        return False

    def _doubt(self, server: str) -> None:
        if server not in self._asked:
            logger.warning(
                "no heartbeat of this process was taken for more than %g s; asking whether its connections are "
                "still its own", DOUBT_SECONDS,
            )  # fmt: skip
        self._asked[server] = next(self._questions), time.monotonic()

    def level(self) -> None:
        """Give quiet instances to workers that have fewer, if it is time. Called again and again by one thread."""
        if self._balance is not None and time.monotonic() >= self._balance.due_at and not self._leaving:
            self._loop.get().call_soon_threadsafe(self._level, self._balance)

    def let_go(self, share: float = 0.0) -> None:
        """Let go of all instances, each as soon as it is quiet. May be called again and again; see `Instance.leave`."""
        if self._balance is not None and not self._leaving:
            self._loop.get().call_soon_threadsafe(self._say_that_it_stops)
        self._leaving = True
        loop = self._loop.running
        if loop is not None and self._running:
            loop.call_soon_threadsafe(self._let_go, share)

    def let_go_of_quiet(self, seconds: float) -> None:
        """Let go of those that have heard nothing for so long and can go on elsewhere."""
        loop = self._loop.running
        if loop is not None and self._running:
            loop.call_soon_threadsafe(self._let_go_of_quiet, time.monotonic() - seconds)

    def give_up_hung(self, seconds: float) -> list[str]:
        """Break off those that have been in one handler for so long. Called again and again by one thread.

        Returns:
            Names of those that have not ended although they were cancelled.
        """
        now = time.monotonic()
        loop = self._loop.running
        if loop is not None and self._running and now >= self._look_for_hung_at:
            self._look_for_hung_at = now + min(seconds / 4, BEAT_SECONDS)
            loop.call_soon_threadsafe(self._give_up_hung, now, seconds)
        return self._hung

    def last_word_of(self, task: asyncio.Task[Any] | None) -> Outgoing | None:
        """See `Instance.last_word`, of the one that a task belongs to."""
        for instance in list(self._running):
            if task is not None and (instance.task is task or task in instance.tasks.running):
                return instance.last_word()
        return None

    def close(self, seconds: float = event_loop.CANCEL_SECONDS) -> bool:
        """End those that are left, whose clients have to connect again. Blocks for so long at most.

        Returns:
            True if none was at work, and all have ended.
        """
        if self.is_idle:
            return True
        broken_off = self._broken_off
        began = time.monotonic()
        for until in (began + seconds / 2, began + seconds):
            if (loop := self._loop.running) is not None:
                loop.call_soon_threadsafe(self._give_up)
            while not self.is_idle and time.monotonic() < until:
                time.sleep(0.005)
        return not self._running and self._broken_off == broken_off

    # -- in the loop's thread --------------------------------------------------------------------

    def _start(self, hosted: Hosted, context: contextvars.Context, begun_at: float) -> None:
        self._open()
        server = sys.intern(split(hosted.reply_channel)[0])
        now = time.monotonic()
        if not hosted.is_orphan:  # its server takes no heartbeats
            if server not in self._servers:
                self._taken_at[server] = now
            self._servers[server] = self._servers.get(server, 0) + 1
        instance = Instance(self, hosted, server)
        self._inbox.enter(instance)
        self._running[instance] = None
        with self._lock:
            self._starting -= 1
        instance.introduce()
        held_up = now - min(self._called_at, begun_at) > HELD_UP_SECONDS
        if not hosted.is_orphan and (held_up or now - self._steady_since < UNSTEADY_SECONDS):
            # Behind the introduction, which the server answers first if others have the connection by now.
            self._asked[server] = next(self._questions), now
            self._ask()
        if self._leaving:
            instance.leave()
        task = instance.drive()
        # With a name that all have, since each would be given one of its own.
        instance.task = asyncio.get_running_loop().create_task(task, name=TASK_NAME, context=context)

    def _open(self) -> None:
        """Open the channels of this process, and join the group of the workers that host applications."""
        if self._answers is None:
            self._answers = self._inbox.open(self._answered)
            self._inbox.open(self._spread, local=SHARED)
            # A context of its own: it belongs to nobody whose application is the first.
            listening = self._listen(self._answers.channel)
            self._listening = asyncio.get_running_loop().create_task(listening, context=contextvars.Context())

    def forget(self, instance: Instance) -> None:
        """An instance has ended."""
        self._running.pop(instance, None)
        server = instance.server
        if instance.hosted.is_orphan:
            return
        self._servers[server] -= 1
        if not self._servers[server]:
            del self._servers[server]
            self._asked.pop(server, None)
            self._questions_to.pop(server, None)

    def _let_go(self, share: float) -> None:
        if self._to_leave:
            return  # of the last time
        # The most active first: their clients wait for the next worker, others do not notice.
        self._to_leave = sorted(self._running, key=lambda one: one.since)
        self._let_go_of_some(share)

    def _let_go_of_some(self, share: float) -> None:
        """Go on in portions, so that what the first ones had to say is written before the last ones are asked."""
        for _ in range(min(LEAVE_AT_A_TIME, len(self._to_leave))):
            self._to_leave.pop().leave(share)
        if self._to_leave:
            asyncio.get_running_loop().call_later(LEAVE_PAUSE_SECONDS, self._let_go_of_some, share)

    def _let_go_of_quiet(self, before: float) -> None:
        for instance in list(self._running):
            if instance.since < before and instance.can_be_left():
                instance.leave()

    def _level(self, balance: Balance) -> None:
        now = time.monotonic()
        step = balance.step(self._count, now) if now >= balance.due_at else None
        if isinstance(step, Ask):
            self._tell(HOSTS, {"worker": self._own_channel, "ask": step.number}, group=True)
        elif isinstance(step, Give):
            if step.begins:
                logger.info("quiet ones of %d applications go to workers that have fewer", self._count)
            self.move_some(step.instances)

    def move_some(self, count: int) -> None:
        """Have up to so many quiet instances made again elsewhere at once, any of them. Called on the loop."""
        moved = 0
        before = time.monotonic() - SETTLED_SECONDS
        for instance in random.sample(list(self._running), len(self._running)):
            if moved == count:
                break
            if instance.since <= before and instance.can_be_left():
                instance.move()
                moved += 1

    def _inform_of_loss(self, server: str, gone: Leases) -> None:
        """Others have these connections of a server by now; it may have got some of them anew since."""
        if gone:
            for instance in list(self._running):
                if instance.server == server:
                    epoch = gone.get(instance.hosted.reply_channel.removeprefix(server), -1)
                    if instance.hosted.epoch <= epoch:
                        instance.deliver(GONE, None)

    def _say_that_it_stops(self) -> None:
        self._tell(HOSTS, {"worker": self._own_channel, "stops": True}, group=True)

    @property
    def _own_channel(self) -> str:
        assert self._answers is not None
        return self._answers.channel

    def _tell(self, target: str, message: dict[str, Any], group: bool = False) -> None:
        """Tell other workers something that may be lost."""

        async def send() -> None:
            try:
                await self.layer.asend_batch([Outgoing(target, pack_body(message), group=group)])
            except LayerUnavailable as error:
                logger.debug("other workers could not be told: %s", error)

        task = asyncio.get_running_loop().create_task(send(), context=contextvars.Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _give_up_hung(self, now: float, seconds: float) -> None:
        hung = [one for one in self._running if one.is_at_work and now - one.since >= seconds]
        for instance in hung:
            if not instance.is_muted:
                instance.break_off(now)
        self._hung = [one.hosted.name for one in hung if 0 < one.broken_off_at <= now - event_loop.CANCEL_SECONDS]

    def _give_up(self) -> None:
        for instance in list(self._running):
            self._broken_off += instance.give_up()

    def _spread(self, message: dict[str, Any], headers: Headers | None) -> Iterator[None] | None:
        """An event for several instances, or the news that others have their connections."""
        if "gone" in message:
            self._inform_of_loss(message["server"], message["gone"])
            return None
        return self._deliver_to(message["to"], message["event"], headers)

    def _deliver_to(self, members: list[tuple[str, int]], event: Event, headers: Headers | None) -> Iterator[None]:
        """Deliver an event in portions: the interface server sends the answers of one while the next are at work."""
        copy = copied if any(type(value) in (dict, list) for value in event.values()) else dict
        for number, (local, turn) in enumerate(members, 1):
            instance = self._inbox.find(local)
            if isinstance(instance, Instance):
                instance.take(copy(event), turn, headers)
            if number % PORTION == 0:
                yield

    def _ask(self) -> None:
        """Ask servers about the leases, behind all that was said so far."""
        assert self._answers is not None
        for server, (number, _) in list(self._asked.items()):
            headers: Headers = {"lease": self._answers.channel, "flow": self._answers.channel, "turn": number}
            self.outlet.add(Outgoing(server + ALIVE, EMPTY, headers))

    async def _listen(self, channel: str) -> None:
        """Stay a member of the group of workers that host applications."""
        while True:
            try:
                await self.layer.agroup_add(HOSTS, channel)
                await asyncio.sleep(self.layer.group_expiry / 3)
            except LayerUnavailable:
                await asyncio.sleep(BEAT_SECONDS)

    def _answered(self, message: dict[str, Any], headers: Headers | None) -> None:
        """Take what an interface server answers, or what workers say to each other.

        What a server said of single leases came before.
        """
        if "worker" in message:
            self._hear_worker(message["worker"], message)
            return
        if "left" in message:
            if not self._left:  # one look at all instances for the many connections that a server had
                asyncio.get_running_loop().call_soon(self._tell_orphans)
            self._left.add(message["left"])
            return
        server = str(message.get("server"))
        if (questions := self._questions_to.get(server)) is not None:
            questions.answered()
        self._inform({server + local: CLOSED for local in message.get("closed", ())})
        self._inform_of_loss(server, message.get("gone", {}))
        number, since = self._asked.get(server, (0, 0.0))
        if 0 < number <= message.get("asked", 0):
            del self._asked[server]
            self._taken_at[server] = max(self._taken_at.get(server, since), since)  # a question is a heartbeat
            for instance in list(self._running):
                if instance.server == server:
                    instance.wake()

    def _lose_server(self, server: str) -> None:
        """A server is gone, and its connections with it."""
        self._inform({one.hosted.reply_channel: CLOSED for one in self._running if one.server == server})

    def _tell_orphans(self) -> None:
        left, self._left = self._left, set()
        self._inform(dict.fromkeys(left, CLOSED))

    def _inform(self, news: dict[str, Message]) -> None:
        """Tell instances, by the names of their connections, what became of these."""
        if news:
            for instance in list(self._running):
                if (said := news.get(instance.hosted.reply_channel)) is not None:
                    instance.deliver(said, None)

    def _hear_worker(self, worker: str, message: dict[str, Any]) -> None:
        """Take what another worker asks or says of its instances."""
        balance = self._balance
        if balance is None or worker == self._own_channel:
            return
        if "ask" in message:
            if not self._leaving and not self.is_full:
                count = {"instances": self._count, "room": self._most - self._count}
                self._tell(worker, {"worker": self._own_channel, "answer": message["ask"], **count})
        elif "answer" in message:
            balance.hear(worker, message["answer"], Count(message["instances"], message["room"]))
        else:
            balance.forget(worker)


def copied(value: Any) -> Any:
    """A copy of a received value, of which the application may change everything."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value
