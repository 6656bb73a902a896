"""Several Redis servers: what they carry together, and what it costs to wait on all of them."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import redis

from channel_layer.redis import RedisChannelLayer

from ..figures import HEADS, kibibytes, microseconds, middle, ratio_text, row
from ..machine import running_seconds
from ..report import Section, Setting
from ..stack import START_SECONDS, RoundError, StackError, free_port, redis_answers, redis_command

SERVERS = [1, 2, 4, 8]
READERS = 16
GROUPS = 4_000
MEMBERS = 4
BURST = 1_000
BURSTS = 4
LEAST_GROWTH = 0.85

IDLE_PROCESSES = 200
IDLE_SECONDS = 5.0
LARGEST_IDLE = 0.005

TEXT = f"""\
**Carrying**: {READERS} process-specific names, each read by an event loop as a web server does, have members in
{GROUPS:,} groups, {MEMBERS} in each. {BURST:,} messages to groups for each server go off at once, and the next
come when every member has them. Given is the CPU time of the busiest server for a message, and how many messages
those servers could carry beside a single one in the same round: the client's machine is too small to show it by
the clock. With perfect growth it would be the number of servers.

**Waiting**: {IDLE_PROCESSES} names are read on {SERVERS[-1]} servers, and nothing happens for {IDLE_SECONDS:.0f} s.
CPU time is that of one second."""

Round = dict[str, Any]


def study(setting: Setting) -> Section:
    """Measure both; see `TEXT`."""
    carrying = asyncio.run(_carry_in_turns(setting))
    with running(SERVERS[-1]) as servers:
        waiting = asyncio.run(_wait(setting, servers))
    return Section("Several servers", TEXT, table(carrying, waiting), {"carrying": carrying, "waiting": waiting})


def table(carrying: dict[str, list[Round]], waiting: list[Round]) -> list[list[str]]:
    """The figures: for each number of servers, then what waiting costs."""
    rows = [HEADS]
    alone = carrying[str(SERVERS[0])]
    for name, rounds in carrying.items():
        rows.append(
            row(f"a message to a group, busiest of {name}", middle(each["busiest"] for each in rounds), microseconds)
        )
        if rounds is not alone:
            growth = middle(one["busiest"] / each["busiest"] for one, each in zip(alone, rounds, strict=True))
            least = LEAST_GROWTH * int(name)
            rows.append(row(f"messages that {name} carry, beside 1", growth, ratio_text, least=least))
    rows.append(row("waiting, a process", middle(each["process"] for each in waiting), microseconds, most=LARGEST_IDLE))
    rows.append(row("the same, its memory", middle(each["memory"] for each in waiting), kibibytes))
    rows.append(row("the same, each server, for all", middle(each["server"] for each in waiting), microseconds))
    rows.append(row("the same, its memory for each process", middle(each["in redis"] for each in waiting), kibibytes))
    return rows


class Server:
    """A Redis of the study."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self.process = process
        self.client = redis.Redis(port=port)

    def seconds(self) -> float:
        """CPU seconds that it has used."""
        return running_seconds(self.process.pid)

    def memory(self) -> int:
        """Bytes that it has allocated, connections included."""
        return int(self.client.info("memory")["used_memory"])


@contextmanager
def running(count: int) -> Iterator[list[Server]]:
    """So many empty servers, until the end of the block."""
    servers: list[Server] = []
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory:
        try:
            for _ in range(count):
                port = free_port()
                process = subprocess.Popen(redis_command(port, directory), stdout=subprocess.DEVNULL)
                servers.append(Server(port, process))
                deadline = time.monotonic() + START_SECONDS
                while not redis_answers(port):
                    if time.monotonic() > deadline:
                        raise StackError(f"redis-server did not answer in {START_SECONDS:.0f} s")
                    time.sleep(0.02)
            yield servers
        finally:
            for server in servers:
                server.client.close()
                server.process.kill()
                server.process.wait()


class Readers:
    """Process-specific names, each with a layer of its own that receives, and what they have received.

    Attributes:
        count: messages so far, one for each member.
    """

    def __init__(self, servers: Sequence[Server], count: int, prefix: str) -> None:
        self.names = [f"reader{number}!" for number in range(count)]
        self.count = 0
        self._layers = [layer_on(servers, prefix) for _ in self.names]
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Event()
        self._wanted = 0

    async def __aenter__(self) -> Readers:
        for layer, name in zip(self._layers, self.names, strict=True):
            await layer.areceive_batch([name])  # one after the other: nobody has to wait for a connection
            self._tasks.append(asyncio.create_task(self._read(layer, name)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for layer in self._layers:
            await layer.aclose()
            layer.close()

    async def wait_for(self, count: int) -> None:
        """Wait until so many have come in all; raises `RoundError` if they do not."""
        self._wanted = count
        self._arrived.clear()
        try:
            async with asyncio.timeout(60):
                while self.count < count:
                    await self._arrived.wait()
                    self._arrived.clear()
        except TimeoutError:
            raise RoundError(f"{self.count} of {count} messages to groups came") from None

    async def _read(self, layer: RedisChannelLayer, name: str) -> None:
        while True:
            for delivery in await layer.areceive_batch([name], limit=100, timeout=2):
                self.count += len(delivery.members or ())
            if self.count >= self._wanted:
                self._arrived.set()


def layer_on(servers: Sequence[Server], prefix: str) -> RedisChannelLayer:
    """A layer over all of them, with room for every message of a burst."""
    return RedisChannelLayer(hosts=[server.url for server in servers], prefix=prefix, capacity=100_000, expiry=60)


async def _carry_in_turns(setting: Setting) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = {str(count): [] for count in SERVERS}
    async with AsyncExitStack() as stack:
        carriers = [await stack.enter_async_context(carrier(count)) for count in SERVERS]
        for number in range(setting.rounds + 1):  # the first one warms up
            for carry in carriers:
                said = await carry()
                name = str(len(said["used"]))
                if number:
                    rounds[name].append(said)
                    setting.tell(f"servers, {name}: {microseconds(said['busiest'])} of the busiest for a message")
    return rounds


@asynccontextmanager
async def carrier(count: int) -> AsyncIterator[Callable[[], Awaitable[Round]]]:
    """So many servers with groups and readers; what is given carries a round of messages and says what that cost."""
    choose = random.Random(count)
    prefix = f"bench-{uuid.uuid4().hex}:"
    groups = [f"room-{number}" for number in range(GROUPS)]
    with running(count) as servers:
        sender = layer_on(servers, prefix)
        async with Readers(servers, READERS, prefix) as readers:
            for at in range(0, GROUPS, 100):
                joins = [
                    sender.agroup_add(group, f"{name}a")
                    for group in groups[at : at + 100]
                    for name in choose.sample(readers.names, MEMBERS)
                ]
                await asyncio.gather(*joins)

            async def carry() -> Round:
                before = [server.seconds() for server in servers]
                for _ in range(BURSTS):
                    targets = choose.choices(groups, k=BURST * count)
                    wanted = readers.count + MEMBERS * len(targets)
                    items = [sender.prepare(group, {"text": "x" * 100}, group=True) for group in targets]
                    await asyncio.to_thread(sender.send_batch, items)
                    await readers.wait_for(wanted)
                used = [server.seconds() - start for server, start in zip(servers, before, strict=True)]
                return {"used": used, "busiest": max(used) / (BURSTS * BURST * count)}

            yield carry
        await sender.aclose()
        sender.close()


async def _wait(setting: Setting, servers: Sequence[Server]) -> list[Round]:
    own = os.getpid()
    memory = memory_of(own)
    stored = [server.memory() for server in servers]
    rounds: list[Round] = []
    async with Readers(servers, IDLE_PROCESSES, f"bench-{uuid.uuid4().hex}:"):
        await asyncio.sleep(3)  # every connection is open by then, and the first heartbeats are over
        for _ in range(setting.rounds):
            began, so_far = time.perf_counter(), time.process_time()
            before = [server.seconds() for server in servers]
            await asyncio.sleep(IDLE_SECONDS)
            seconds = time.perf_counter() - began
            used = [server.seconds() - start for server, start in zip(servers, before, strict=True)]
            more = [server.memory() - start for server, start in zip(servers, stored, strict=True)]
            rounds.append(
                {
                    "process": (time.process_time() - so_far) / seconds / IDLE_PROCESSES,
                    "memory": (memory_of(own) - memory) / IDLE_PROCESSES,
                    "server": max(used) / seconds,
                    "in redis": max(more) / IDLE_PROCESSES,
                }
            )
            setting.tell(f"servers, waiting: {microseconds(rounds[-1]['process'])} for each process")
    return rounds


def memory_of(pid: int) -> int:
    """Resident memory of one process, without those that it started."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as text:
        return int(text.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
