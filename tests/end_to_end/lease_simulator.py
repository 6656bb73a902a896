"""Connections of a server and instances of workers, the real ones, on a network and a clock that a test moves.

Nothing happens by itself: messages wait in queues until they are handed on, handlers run until they are finished, time
stands still until it is moved. A worker can be killed, or held up and go on later as if nothing had been.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from channel_layer.codec import EMPTY, unpack_body
from channel_layer.delivery import ALIVE, SHARED, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import CONNECT, RESUME
from interface_server.bridge.broadcast import Broadcast
from interface_server.bridge.hosts import Hosts
from interface_server.bridge.replies import Reply
from interface_server.bridge.uplink import Entry
from interface_server.websocket import connection as connection_module
from interface_server.websocket import lease as lease_module
from interface_server.websocket.connection import Phase, WebSocketConnection
from interface_server.websocket.lease import Lease
from interface_server.websocket.slow_turns import DIED, EXPIRED, LOST, RESUME_SECONDS
from tests.interface_server.fakes import FakeSocket, QuietContext, RecordingUplink, scope
from workers import instances as instances_module
from workers import outlet as outlet_module
from workers.inbox import Listener
from workers.instances import LEFT, Event, Hosted, Instances, NotCarried, Receive, Send
from workers.sync_side import SyncSide

TAKEN_SECONDS = {CONNECT: 30.0, RESUME: RESUME_SECONDS}
LOST_SECONDS, EXPIRY_SECONDS = 5.0, 60.0


class Job:
    """A message on a shared channel."""

    def __init__(self, item: Outgoing, stored_at: float) -> None:
        self.item = item
        self.stored_at = stored_at
        self.taken_at: float | None = None


class Line(RecordingUplink):
    """An uplink whose messages are stored when the test says so."""

    def __init__(self, world: World, layer: Any) -> None:
        super().__init__(layer)
        self.world = world
        self.waiting: deque[Entry] = deque()

    def put(self, item: Any, sender: Any = None, **options: bool) -> Entry | None:
        entry = super().put(item, sender, **options)
        if entry is not None:
            self.waiting.append(entry)
        return entry


class App(Hosted):
    """An application whose handlers take as long as the test says.

    What it has seen is its state, but for every second message of a group, which leaves it as it was.
    """

    name = "the application"
    is_orphan = False

    def __init__(
        self,
        worker: Worker,
        connection: str,
        epoch: int,
        done: int,
        events: list[tuple[int, Event]],
        checkpoint: bytes | None,
    ) -> None:
        self.reply_channel = connection
        self.epoch, self.done, self.events = epoch, done, events
        self.worker = worker
        self.seen: list[str] = json.loads(checkpoint or b"[]")
        self.finish: asyncio.Future[None] | None = None
        self.stays = False

    async def run(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            self.worker.world.begun(self, event)
            self.finish = asyncio.get_running_loop().create_future()
            await self.finish
            self.finish = None
            if event["type"] == CONNECT:
                await send({"type": "websocket.accept"})
            if not (event["type"] == "group" and event["name"][-1] in "02468"):
                self.seen.append(name_of(event))
            if event["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": name_of(event)})

    def reply_to(self, event: Event) -> dict[str, Any]:
        return {"accept": True} if event["type"] == "websocket.accept" else {"text": event["text"]}

    @property
    def is_at_work(self) -> bool:
        """True while it has an event in hand."""
        return self.finish is not None and not self.finish.done()

    def go_on(self) -> None:
        """Have it be done with the event in hand."""
        assert self.finish is not None
        self.finish.set_result(None)

    def checkpoint(self) -> bytes:
        if self.stays:
            raise NotCarried("it holds something")
        return json.dumps(self.seen).encode()


def name_of(event: Event) -> str:
    """An event in a word."""
    return str(event.get("text") or event.get("name") or event["type"].partition(".")[2])


class WorkerLayer:
    """The layer as a worker has it."""

    def __init__(self, worker: Worker) -> None:
        self.prepare = MemoryChannelLayer().prepare
        self._worker = worker

    group_expiry = 86_400

    def describe(self) -> str:
        return "the network"

    async def agroup_add(self, group: str, channel: str) -> None:
        """All workers are members here."""

    def send_batch(self, items: list[Outgoing]) -> list[Outgoing]:
        self._worker.world.to_server.extend(items)
        return []

    async def asend_batch(self, items: list[Outgoing]) -> list[Outgoing]:
        await self._worker.awake()
        world = self._worker.world
        for item in [item for item in items if item.group or item.target.startswith("worker.")]:
            items.remove(item)
            world.among_workers(item)
        if world.random.random() < world.losses:
            if world.random.random() < 0.5:
                world.to_server.extend(items)
            raise LayerUnavailable("here", "an answer was lost", uncertain=True)
        world.to_server.extend(items)
        return []


class Worker:
    """A worker process."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.reader = f"worker.{number}!"
        self.regained = 0
        self.is_dead = self.is_held_up = self.leaves = False
        self.queue: deque[Outgoing] = deque()
        self.jobs: list[Job] = []
        self.apps: list[App] = []
        self._listeners: dict[str, Any] = {}
        self._numbers = itertools.count()
        self._awake: asyncio.Future[None] | None = None
        loop = asyncio.get_running_loop()
        self.instances = Instances(
            99,
            WorkerLayer(self),  # type: ignore[arg-type]
            SimpleNamespace(get=lambda: loop, running=loop),  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            SyncSide(),
        )
        self.instances.listen()

    @property
    def is_up(self) -> bool:
        return not self.is_dead and not self.is_held_up

    async def awake(self) -> None:
        """Wait while the process is held up, or dead."""
        while not self.is_up:
            self._awake = self._awake or asyncio.get_running_loop().create_future()
            await self._awake

    def go_on(self) -> None:
        self.is_held_up = False
        if self._awake is not None:
            self._awake.set_result(None)
            self._awake = None

    def open(self, deliver: Callable[..., Any], peer: None = None, local: str | None = None) -> Any:
        """See `Inbox.open`."""
        name = local or str(next(self._numbers))
        self._listeners[name] = SimpleNamespace(
            channel=self.reader + name, close=lambda: self._listeners.pop(name, None), deliver=deliver
        )
        return self._listeners[name]

    def enter(self, listener: Listener) -> None:
        """See `Inbox.enter`."""
        listener._inbox, listener._local = self, str(next(self._numbers))  # type: ignore[assignment]
        self._listeners[listener._local] = listener

    def find(self, local: str) -> Any:
        """See `Inbox.find`."""
        return self._listeners.get(local)

    def read(self, limit: int) -> None:
        """Hand on what has arrived, as the reader of the process does: without a break."""
        for _ in range(min(limit, len(self.queue))):
            item = self.queue.popleft()
            address = self._listeners.get(item.target.partition("!")[2])
            if address is not None:
                for _ in address.deliver(unpack_body(item.body), item.headers) or ():
                    pass

    def take(self, job: Job) -> None:
        job.taken_at = self.world.now
        self.jobs.append(job)

    def begin(self) -> None:
        """Begin what was taken, as the consumer does."""
        for job in self.jobs:
            message, headers = unpack_body(job.item.body), job.item.headers or {}
            if job.item.target == CONNECT:
                app = App(self, message["reply_channel"], 0, 0, [(headers["turn"], {"type": CONNECT})], None)
            else:
                events = list(zip(message["turns"], message["events"], strict=True))
                app = App(
                    self, message["reply_channel"], headers["epoch"], message["turn"], events, message["checkpoint"]
                )
            app.stays = self.world.stays(app.reply_channel)
            self.apps.append(app)
            assert job.taken_at is not None
            self.instances.begin(app, job.taken_at)
        self.jobs.clear()


class World:
    """One server, some workers, and what happened to whom.

    Attributes:
        losses: how often the answer to a write is lost, of 1.
        told: connection → the events that its application has begun, as pairs of epoch and name.
        given_up: connections whose application could not go on elsewhere.
        dropped: connection → events that were given up with the worker that had them.
    """

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch, losses: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.losses = losses
        self.now = 1_000.0
        self.jobs: deque[Job] = deque()
        self.taken: dict[float, Job] = {}
        self.to_server: deque[Outgoing] = deque()
        self.workers: list[Worker] = []
        self.sent: dict[str, list[str]] = {}
        self.told: dict[str, list[tuple[int, str]]] = {}
        self.dropped: dict[str, list[str]] = {}
        self.given_up: set[str] = set()
        self.in_doubt: Job | None = None
        self._stays: set[str] = set()
        lose = Lease.lost
        monkeypatch.setattr(instances_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        for module in (lease_module, connection_module):
            monkeypatch.setattr(module, "SlowTurn", lambda *args: Watch(self, *args))
        monkeypatch.setattr(outlet_module, "FIRST_RETRY", 1e-7)
        monkeypatch.setattr(outlet_module, "LAST_RETRY", 1e-7)
        monkeypatch.setattr(Lease, "lost", lambda lease, until: self._lose(lease, until, lose))
        self.context = QuietContext(accept_timeout=100)
        self.line = Line(self, self.context.layer)
        self.context.uplink = self.line
        self.context.hosts = Hosts(self.context.name, self.line, self.context.connections)
        self.context.now = self.now
        self.connections: list[WebSocketConnection] = []

    def _lose(self, lease: Lease, begun_until: float, lose: Callable[[Lease, float], bool]) -> bool:
        before = list(lease._events)
        goes_on = lose(lease, begun_until)
        self.dropped[lease._channel] += [name_of(event.content) for event in before if event not in lease._events]
        if not goes_on:
            self.given_up.add(lease._channel)
        return goes_on

    def begun(self, app: App, event: Event) -> None:
        """An application begins an event."""
        if not app.worker.is_dead:
            self.told[app.reply_channel].append((app.epoch, name_of(event)))

    def stays(self, channel: str) -> bool:
        """True if the state of the application cannot be carried."""
        return channel in self._stays

    # -- what may happen -------------------------------------------------------------------------

    def add_worker(self) -> Worker:
        worker = Worker(self, len(self.workers))
        self.workers.append(worker)
        return worker

    def connect(self, stays: bool = False) -> WebSocketConnection:
        connection = WebSocketConnection(self.context, scope("websocket", path="/p"), FakeSocket())
        self.connections.append(connection)
        for book in (self.sent, self.told, self.dropped):
            book[connection.channel] = []  # type: ignore[attr-defined]
        if stays:
            self._stays.add(connection.channel)
        connection.open()
        return connection

    def send_to_group(self, name: str) -> None:
        """Send an event to the applications of all open connections."""
        broadcast = Broadcast(self.context.layer, self.line, self.now, {"type": "group", "name": name})
        for connection in self.connections:
            if connection.phase is Phase.OPEN and connection._lease is not None:
                connection.take_shared(broadcast)
                self.sent[connection.channel].append(name)
        broadcast.send()

    def store(self) -> None:
        """Store the next message of the server."""
        entry = self.line.waiting.popleft()
        if entry.cancelled:
            return
        lost = self.random.random() < self.losses and entry.item.body is not EMPTY
        job = None
        if not lost or self.random.random() < 0.5:
            job = self._route(entry.item)
        if lost:
            self.in_doubt = job
            if entry.sender is not None:
                event = unpack_body(entry.item.body)
                if isinstance(entry.sender, WebSocketConnection) and "type" in event:
                    self.dropped[entry.sender.channel].append(name_of(event))
                for lease, shared in getattr(entry.sender, "members", ()):
                    self.dropped[lease._channel].append(name_of(shared.content))
                entry.sender.refused(entry.item, LayerUnavailable("here", "an answer was lost"))
            return
        self.now += 1e-6
        entry.stored_at = self.now
        if job is not None:
            self.taken[self.now] = job
        if entry.report and entry.sender is not None:
            entry.sender.sent(entry.item)

    def _route(self, item: Outgoing) -> Job | None:
        if item.target in (CONNECT, RESUME):
            job = Job(item, self.now)
            self.jobs.append(job)
            return job
        for worker in self.workers:
            if item.target.startswith(worker.reader):
                worker.queue.append(item)
        return None

    def among_workers(self, item: Outgoing) -> None:
        """Carry what a worker tells another, or all."""
        for worker in self.workers:
            if item.group:
                worker.queue.append(Outgoing(worker.instances._own_channel, item.body))
            elif item.target.startswith(worker.reader):
                worker.queue.append(item)

    def hear(self) -> None:
        """The server reads its next message."""
        item = self.to_server.popleft()
        local = item.target.partition("!")[2]
        if local == ALIVE:
            assert item.headers is not None
            self.context.hosts.hear(item.headers, unpack_body(item.body), self.now)
        elif local == SHARED:
            said = unpack_body(item.body)
            for name, epoch, turn in said["to"]:
                if (member := self.context.connections.get(name)) is not None:
                    member.hear_shared(Reply(said["reply"]), epoch, turn)
        elif (connection := self.context.connections.get(local)) is not None:
            message = unpack_body(item.body)
            if message.get("close") == LEFT:
                self.given_up.add(connection.channel)
            connection.deliver(message, item.headers)
        elif item.headers and item.headers.get("epoch") and item.headers.get("lease"):
            self.context.hosts.dismiss(item.headers["lease"])

    async def second(self) -> None:
        """A second passes. What the server was sent reaches it meanwhile."""
        while self.line.waiting:
            self.store()
        self.now += 1.0
        self.context.now = self.now
        for worker in self.workers:
            if worker.is_up:
                worker.begin()
                worker.instances.beat()
        await settle()
        while self.to_server:
            self.hear()
        for connection in list(self.context.connections.values()):
            connection.tick(self.now)
        self.context.hosts.tick(self.now)
        for job in [job for job in self.jobs if self.now - job.stored_at > EXPIRY_SECONDS]:
            self.jobs.remove(job)
        await settle()

    def running(self) -> list[App]:
        """Applications with an event in hand, in processes that run."""
        return [app for worker in self.workers if worker.is_up for app in worker.apps if app.is_at_work]

    async def quiet_down(self) -> None:
        """Let everything that is under way come to its end."""
        for worker in self.workers:
            worker.go_on()
        quiet, self.losses = 0, 0.0
        for _ in range(5_000):
            await settle()
            for worker in self.workers:
                if worker.is_up:
                    worker.begin()
                    worker.read(99)
            await settle()
            up = [worker for worker in self.workers if worker.is_up and not worker.leaves]
            if not up:
                up = [self.add_worker()]
            while self.jobs:
                self.random.choice(up).take(self.jobs.popleft())
            while self.line.waiting:
                self.store()
            while self.to_server:
                self.hear()
            running = self.running()
            for app in running:
                app.go_on()
            await settle()
            busy = running or self.line.waiting or self.to_server or self.jobs or any(w.jobs for w in up)
            if busy:
                quiet = 0
                continue
            await self.second()
            quiet += 1
            if quiet > 40:
                return
        raise AssertionError("it does not come to rest")


class Watch:
    """Stands for `SlowTurn`, and knows what became of each message."""

    def __init__(self, world: World, context: Any, channel: str, stored_at: float) -> None:
        self._world = world
        self._since = stored_at
        self._patience = TAKEN_SECONDS.get(channel, 30.0)
        self._job = world.taken.get(stored_at)
        self._lost = False

    def hear(self, headers: Any, now: float) -> None:
        """Signs of slow consumers: nobody gives any here."""

    def lost(self) -> None:
        self._lost = True
        self._job = self._world.in_doubt

    def over(self, now: float) -> str | None:
        job = self._job
        if job is not None and job in self._world.jobs:
            return None
        if job is not None and job.taken_at is None:
            return EXPIRED
        since = self._since if job is None or job.taken_at is None else job.taken_at
        if now - since < (LOST_SECONDS if self._lost else self._patience):
            return None
        return LOST if self._lost else DIED


async def end() -> None:
    """End what processes that were killed, or were not stopped, have left."""
    for _ in range(3):  # what ends may have something to say
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await settle()


async def settle() -> None:
    """Let all tasks run until they wait for something of the test's."""
    for _ in range(12):
        await asyncio.sleep(0)
