"""Clients of a verification, and what each of them has seen."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .plan import VerificationError
from .probes import PATH
from .processes import HOST

ECHO: Final = "echo"
HOSTED: Final = "hosted"
GROUP: Final = "group"
KINDS: Final = (ECHO, HOSTED, GROUP)
"""Frames that a function consumer sends back; that an instance counts and sends back; that a group gets."""

SAFE_SECONDS = 1.0
"""A member of a group is sure of messages that were sent so long after it had joined."""

QUIET_SECONDS = 1.0
"""Silence that ends the wait for answers when all are there."""

START_SECONDS = 30.0
RETRY_SECONDS = 0.1
CONNECT_SECONDS = 10.0
PAGE_SECONDS = 15.0


@dataclass
class Tally:
    """Counts of a verification under one fault.

    Attributes:
        clients: how many there are.
        sent: frames that clients have sent.
        lost: of those, such as got no answer although the connection stayed open; and messages to the group that no
            member, or not every member, got.
        doubled: answers that came twice.
        reordered: answers that came behind a later one.
        forgotten: times that an instance had lost what it had counted.
        cut: frames that waited for their answer when their connection was closed.
        closed: connections that were closed, by the code.
        pause: the longest time in seconds that a client waited for an answer.
        pages: requests, by status; 0 for those that got no answer.
        left: connections that were closed and of which consumers were not told, told once, and told more than once.
    """

    clients: int = 0
    sent: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    forgotten: int = 0
    cut: int = 0
    closed: Counter[int] = field(default_factory=Counter)
    pause: float = 0.0
    pages: Counter[int] = field(default_factory=Counter)
    left: tuple[int, int, int] = (0, 0, 0)


class Life:
    """One connection of a client.

    Attributes:
        path: of its own, by which consumers name it.
        since, until: when it was opened and closed; 0 while it is open.
        code: with which it was closed.
        sent: frames → when.
        received: the same texts, in the order in which they came, and when.
        counts: what the instance behind it has counted.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.since = time.monotonic()
        self.until = 0.0
        self.code: int | None = None
        self.sent: dict[str, float] = {}
        self.received: list[tuple[str, float]] = []
        self.counts: list[int] = []

    @property
    def unanswered(self) -> int:
        """Number of frames that have not come back."""
        return len(self.sent.keys() - {text for text, _ in self.received})


class Client:
    """A WebSocket client that connects again whenever it is closed.

    Args:
        kind: one of `KINDS`, or ``watch``.
        number: tells clients apart.
        port: of its web server.
    """

    def __init__(self, kind: str, number: int, port: int) -> None:
        self.kind = kind
        self.lives: list[Life] = []
        self._number = number
        self._port = port
        self._connection: ClientConnection | None = None
        self._next = 0

    @property
    def is_open(self) -> bool:
        """True while it is connected."""
        return self._connection is not None

    @property
    def life(self) -> Life:
        """The connection that it has, or had last."""
        return self.lives[-1]

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            path = f"{PATH}/{self.kind}/{self._number}/{len(self.lives)}"
            try:
                connection = await connect(
                    f"ws://{HOST}:{self._port}{path}", open_timeout=CONNECT_SECONDS, ping_interval=None, proxy=None
                )
            except (OSError, InvalidHandshake, EOFError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            life = Life(path)
            self.lives.append(life)
            self._connection = connection
            try:
                async for text in connection:
                    self._take(life, str(text))
            except ConnectionClosed:
                pass
            finally:
                self._connection = None
                life.until = time.monotonic()
                await connection.close()
            life.code = connection.close_code

    async def send(self) -> None:
        """Send the next number, if it is connected."""
        connection = self._connection
        if connection is None:
            return
        text, self._next = f"{self._number}:{self._next}", self._next + 1
        self.life.sent[text] = time.monotonic()
        try:
            await connection.send(text)
        except ConnectionClosed:
            pass

    def _take(self, life: Life, text: str) -> None:
        if self.kind == HOSTED:
            text, _, count = text.partition(" ")
            life.counts.append(int(count))
        life.received.append((text, time.monotonic()))

    @property
    def is_owed(self) -> bool:
        """True if an answer may still come. Answers come in order, so one to the last frame is behind all others."""
        if not self.is_open or self.kind == GROUP or not self.life.sent:
            return False
        received = self.life.received
        return not received or received[-1][0] != next(reversed(self.life.sent))


class Load:
    """Clients that send at a steady pace.

    Args:
        ports: of the web servers, over which the clients are spread.
        sockets: how many there are of each kind.
        rate: frames a second of each; one of each web server's sends to the group.
    """

    def __init__(self, ports: list[int], sockets: int, rate: float) -> None:
        self._ports = ports
        self._rate = rate
        self.clients = [Client(kind, number, ports[number % len(ports)]) for kind in KINDS for number in range(sockets)]
        self.watcher = Client("watch", 0, ports[-1])
        self.pages: list[tuple[int, float]] = []
        self._running: list[asyncio.Task[None]] = []
        self._sending: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        everybody = [self.watcher, *self.clients]
        self._running = [asyncio.create_task(client.run()) for client in everybody]
        await _until(lambda: all(client.is_open for client in everybody), START_SECONDS)
        if not all(client.is_open for client in everybody):
            await _end(self._running)
            raise VerificationError(
                f"not all clients were connected after {START_SECONDS:g} s; have the output of the processes kept with "
                "--logs"
            )
        await asyncio.sleep(SAFE_SECONDS)
        senders = [c for c in self.clients if c.kind != GROUP]
        speakers = [c for c in self.clients if c.kind == GROUP][: len(self._ports)]
        self._sending = [asyncio.create_task(self._send(client)) for client in (*senders, *speakers)]
        self._sending += [asyncio.create_task(self._fetch(port)) for port in self._ports]
        return self

    async def __aexit__(self, *error: object) -> None:
        await _end([*self._sending, *self._running])

    async def finish(self, seconds: float) -> None:
        """Send no more, and wait until all answers are there or so many seconds are over."""
        await _end(self._sending)
        await _until(lambda: all(client.is_open and not client.is_owed for client in self.clients), seconds)
        await asyncio.sleep(QUIET_SECONDS)

    async def hear_of_leavers(self, seconds: float) -> None:
        """Wait until consumers have been told of each connection that was closed, or so many seconds are over."""
        await _until(lambda: self.knows_who_left, seconds)
        await asyncio.sleep(QUIET_SECONDS)  # in which they would be told a second time

    async def _send(self, client: Client) -> None:
        while True:
            await client.send()
            await asyncio.sleep(1 / self._rate)

    async def _fetch(self, port: int) -> None:
        while True:
            began = time.monotonic()
            status = await asyncio.to_thread(fetch, port)
            self.pages.append((status, time.monotonic() - began))
            await asyncio.sleep(1 / self._rate)

    @property
    def knows_who_left(self) -> bool:
        """True if consumers have been told of each connection that was closed."""
        told = {text for text, _ in self.watcher.life.received}
        return all(life.path in told for life in self._ended())

    def _ended(self) -> Iterator[Life]:
        return (life for client in self.clients for life in client.lives if life.until)

    def tally(self) -> Tally:
        """Count what became of everything."""
        result = Tally(len(self.clients))
        for client in self.clients:
            for life in client.lives:
                result.sent += len(life.sent)
                if life.until:
                    result.closed[life.code or 1006] += 1
                _count_order(life, result)
                if client.kind != GROUP:
                    _count_answers(life, result)
        _count_group([client for client in self.clients if client.kind == GROUP], result)
        told = Counter(text for life in self.watcher.lives for text, _ in life.received)
        times = [told[life.path] for life in self._ended()]
        result.left = (times.count(0), times.count(1), sum(count > 1 for count in times))
        result.pages.update(status for status, _ in self.pages)
        result.pause = max([result.pause, *(seconds for status, seconds in self.pages if status)])
        return result


def _count_answers(life: Life, result: Tally) -> None:
    """Count what became of frames that are sent back."""
    if life.until:
        result.cut += life.unanswered
    else:
        result.lost += life.unanswered
    result.forgotten += sum(after <= before for before, after in pairwise(life.counts))
    result.pause = max([result.pause, *(at - life.sent[text] for text, at in life.received)])


def _count_order(life: Life, result: Tally) -> None:
    """Count what came twice, and what came behind a later message of the same sender."""
    seen: set[str] = set()
    highest: dict[str, int] = {}
    for text, _ in life.received:
        sender, _, number = text.partition(":")
        if text in seen:
            result.doubled += 1
        elif int(number) < highest.get(sender, -1):
            result.reordered += 1
        seen.add(text)
        highest[sender] = max(int(number), highest.get(sender, -1))


def _count_group(members: list[Client], result: Tally) -> None:
    """Count what became of messages to the group: each member is to get each that was sent while it was in it."""
    lives = [life for client in members for life in client.lives]
    heard = {text for life in lives for text, _ in life.received}
    for life in lives:
        unheard = len(life.sent.keys() - heard)  # one frame each, whatever the number of those who miss it
        if life.until:
            result.cut += unheard
        else:
            result.lost += unheard
    sent = {text: at for life in lives for text, at in life.sent.items()}
    for life in lives:
        got = {text for text, _ in life.received}
        until = life.until - SAFE_SECONDS if life.until else float("inf")
        result.lost += sum(life.since + SAFE_SECONDS <= sent[text] <= until for text in heard - got)
        result.pause = max([result.pause, *(at - sent[text] for text, at in life.received)])


def fetch(port: int) -> int:
    """Ask for the page of the probes; returns the status, or 0 if there was no answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PAGE_SECONDS)
    try:
        connection.request("GET", f"{PATH}/page")
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition is true, or so many seconds are over."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - it depends on many clients
        await asyncio.sleep(0.05)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
