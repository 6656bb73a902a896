"""Worker processes over a real Redis, stopped, killed and cut off while they have work."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer
from workers.fetcher import Pace

from ..conftest import free_port

PROGRAM = Path(__file__).with_name("program.py")
THREADS = 4
ASYNC_TASKS = 20

pytestmark = [pytest.mark.redis, pytest.mark.slow]


class Processes:
    """Starts the test program and ends whatever still runs."""

    def __init__(self, url: str, prefix: str, log: Path) -> None:
        self.url, self.prefix, self.log = url, prefix, log
        self.all: list[subprocess.Popen[bytes]] = []

    def start(self, kind: str = "worker", **options: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROGRAM), kind, self.url, self.prefix, json.dumps(options)]
        with self.log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        self.all.append(process)
        return process

    def end(self) -> None:
        for process in self.all:
            if process.poll() is None:
                process.kill()
            process.wait(20)


@pytest.fixture
def layer(redis_url: str) -> Iterator[RedisChannelLayer]:
    # On a busy machine some messages wait for more than a minute.
    layer = RedisChannelLayer(
        hosts=[redis_url], prefix=f"workers-{secrets.token_hex(8)}:", capacity=100_000, expiry=600
    )
    yield layer
    layer.flush()
    layer.close()


@pytest.fixture
def processes(layer: RedisChannelLayer, redis_url: str, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(redis_url, layer.prefix, tmp_path / "log")
    yield processes
    processes.end()


class Tally:
    """Counts the messages that come out."""

    def __init__(self, layer: Any, channel: str) -> None:
        self.layer, self.channel = layer, channel
        self.seen: Counter[int] = Counter()

    def update(self, timeout: float = 0) -> int:
        while batch := self.layer.receive_batch([self.channel], limit=500, timeout=timeout):
            self.seen.update(found.message["n"] for found in batch)
            timeout = 0
        return len(self.seen)


def put(layer: Any, count: int, start: int = 0, channel: str = "jobs", **content: Any) -> None:
    for at in range(start, start + count, 100):
        numbers = range(at, min(at + 100, start + count))
        assert layer.send_batch([layer.prepare(channel, {"n": n, **content}) for n in numbers]) == []


both_kinds = pytest.mark.parametrize("channel", ["jobs", "async.jobs"])


@both_kinds
def test_workers_stopped_and_started_under_load_lose_nothing(
    channel: str, layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    count = 1500
    done, replies, ready = Tally(layer, "done"), Tally(layer, "replies"), Tally(layer, "ready")
    put(layer, count, seconds=0.002, channel=channel)
    running = [processes.start(), processes.start()]
    for round_ in range(6):
        goal = (round_ + 1) * count // 10
        eventually(lambda goal=goal: done.update() >= goal, f"{goal} messages", 60)
        running.append(processes.start())
        oldest = running.pop(0)
        eventually(lambda oldest=oldest: ready.update() and ready.seen[oldest.pid], "a worker that handles signals", 60)
        oldest.send_signal(signal.SIGTERM)
        assert oldest.wait(30) == 0
    eventually(lambda: done.update() == count and replies.update() == count, "the rest", 60)
    eventually(lambda: ready.update() == len(processes.all), "the last ones to be ready", 60)
    for process in running:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    done.update()
    replies.update()
    assert done.seen == replies.seen == Counter(range(count))


@both_kinds
def test_killed_workers_lose_no_more_than_they_held_and_repeat_nothing(
    channel: str, layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    count, kills = 2000, 3
    replies = Tally(layer, "replies")
    put(layer, count, seconds=0.002, channel=channel)
    running = [processes.start(), processes.start()]
    for round_ in range(kills):
        goal = (round_ + 1) * count // 10
        eventually(lambda goal=goal: replies.update() >= goal, f"{goal} messages", 60)
        running.append(processes.start())
        victim = running.pop(0)
        victim.kill()
        victim.wait(20)
    eventually(lambda: layer.channel_statistics(channel)["messages_pending"] == 0, "the rest", 60)
    ready = Tally(layer, "ready")
    eventually(lambda: ready.update() and {process.pid for process in running} <= set(ready.seen), "readiness", 60)
    for process in running:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    replies.update()
    assert max(replies.seen.values()) == 1
    assert count - len(replies.seen) <= kills * (max(THREADS, ASYNC_TASKS) + Pace.MOST)


@both_kinds
def test_a_stop_waits_for_room_on_a_full_reply_channel(
    channel: str, layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    replies = Tally(layer, "replies")
    worker = processes.start(layer={"channel_capacity": {"replies": 10}})
    put(layer, 1, replies=60, channel=channel)
    eventually(lambda: layer.channel_statistics("replies")["messages_pending"] == 10, "the channel to be full", 60)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: replies.update() == 60, "all replies")
    assert worker.wait(30) == 0
    assert replies.seen == Counter(range(60))


@both_kinds
def test_a_stop_waits_for_what_runs_after_a_consumer_and_sends_its_replies(
    channel: str, layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    after, replies = Tally(layer, "after"), Tally(layer, "replies")
    worker = processes.start()
    put(layer, 1, wait_after=True, channel=channel)
    eventually(lambda: after.update() == 1, "the consumer to return", 60)
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping: " in processes.log.read_text(), "the stop")
    layer.send("go.on", {})
    assert worker.wait(30) == 0
    replies.update()
    assert replies.seen == Counter([0])


def test_what_nobody_had_begun_when_a_worker_is_stopped_goes_back_in_order(
    layer: RedisChannelLayer, processes: Processes
) -> None:
    put(layer, 150, channel="stops", stop=False)
    put(layer, 1, channel="stops", stop=True)
    put(layer, 40, channel="stops", stop=False)
    worker = processes.start(threads=1, grace=0.1)
    # One consumer never comes back, and is left behind.
    assert worker.wait(60) == 1
    left = [found.message["n"] for found in layer.receive_batch(["stops"], limit=500)]
    assert left == list(range(40))


def test_a_worker_goes_on_after_redis_was_restarted(
    redis_server: str, processes: Processes, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    port = free_port()
    command = [redis_server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    own = RedisChannelLayer(hosts=[("127.0.0.1", port)], prefix="restart:")
    processes.url, processes.prefix = f"redis://127.0.0.1:{port}/0", own.prefix

    def works(number: int) -> bool:
        try:
            put(own, 1, start=number)
            return bool(own.receive_batch(["replies"], timeout=0.5))
        except LayerUnavailable:
            return False

    worker = processes.start()
    for number in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                eventually(lambda number=number: works(number), "an answer from the worker", 30)
                assert worker.poll() is None
            finally:
                server.kill()
    own.close()
    # The second stop happens while the server is away.
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def children_of(pid: int) -> set[int]:
    """Process ids of a process's children."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in tasks.read_text().split()} if tasks.exists() else set()


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes through /proc")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@needs_proc
def test_a_supervisor_keeps_its_workers_running_and_stops_them(
    layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    replies = Tally(layer, "replies")
    supervisor = processes.start("supervisor")
    put(layer, 500, seconds=0.001)
    eventually(lambda: replies.update() == 500, "500 answers", 60)
    before = eventually(lambda: len(children_of(supervisor.pid)) == 2 and children_of(supervisor.pid), "two workers")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    after = eventually(
        lambda: len(children_of(supervisor.pid) - before) == 2 and children_of(supervisor.pid), "two new workers"
    )
    put(layer, 500, start=500)
    eventually(lambda: replies.update() == 1000, "500 more answers", 60)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0
    assert not any(map(is_running, after))


@needs_proc
def test_workers_stop_when_their_supervisor_is_killed(
    layer: RedisChannelLayer, processes: Processes, eventually: Callable[..., Any]
) -> None:
    replies = Tally(layer, "replies")
    supervisor = processes.start("supervisor")
    put(layer, 1)
    eventually(lambda: replies.update() == 1, "an answer", 60)
    children = eventually(lambda: len(children_of(supervisor.pid)) == 2 and children_of(supervisor.pid), "two workers")
    supervisor.kill()
    supervisor.wait(20)
    eventually(lambda: not any(map(is_running, children)), "the end of the workers", 30)
