"""The sqlite layer among real processes, after forks, and when its file fails it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.sqlite import SqliteChannelLayer, groups, patience, schema
from channel_layer.sqlite import layer as layer_module
from channel_layer.upkeep import GONE_SECONDS
from tests.channel_layer.interleaving import Intruder
from tests.conftest import SmallDisk

Eventually = Callable[..., Any]

PRODUCER = """
import sys
from channel_layer.sqlite import SqliteChannelLayer
layer = SqliteChannelLayer(sys.argv[1])
sender, count = int(sys.argv[2]), int(sys.argv[3])
for n in range(count):
    layer.send("work", {"sender": sender, "n": n})
"""

CONSUMER = """
import sys
from channel_layer.sqlite import SqliteChannelLayer
layer = SqliteChannelLayer(sys.argv[1])
print("ready", flush=True)
while True:
    for delivery in layer.receive_batch(["work", sys.argv[2]], limit=7, timeout=30):
        if delivery.channel == sys.argv[2]:
            sys.exit()
        layer.send("done!x", delivery.message)
"""

READER = """
import sys
from channel_layer.sqlite import SqliteChannelLayer
layer = SqliteChannelLayer(sys.argv[1])
layer.receive_batch(["process!"])
print("ready", flush=True)
layer.receive_batch(["never", "process!"], timeout=60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "layer.sqlite3"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., SqliteChannelLayer]]:
    made: list[SqliteChannelLayer] = []

    def make(**options: Any) -> SqliteChannelLayer:
        made.append(SqliteChannelLayer(path, **options))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


Make = Callable[..., SqliteChannelLayer]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]


def test_real_processes_hand_over_every_message_once_and_in_order(make: Make, start: Start, path: Path) -> None:
    layer = make()
    consumers = [start(CONSUMER, path, f"stop.{n}") for n in range(2)]
    producers = [start(PRODUCER, path, sender, 200) for sender in range(2)]
    got: list[tuple[int, int]] = []
    while len(got) < 400:
        deliveries = layer.receive_batch(["done!"], limit=50, timeout=20)
        assert deliveries, f"only {len(got)} of 400 messages came"
        got += [(delivery.message["sender"], delivery.message["n"]) for delivery in deliveries]
    for n in range(2):
        layer.send(f"stop.{n}", {})
    assert [process.wait(20) for process in consumers + producers] == [0, 0, 0, 0]
    assert sorted(got) == [(sender, n) for sender in range(2) for n in range(200)]
    assert layer.receive(["done!", "work"]) == (None, None)


def test_one_reader_gets_what_several_processes_sent_in_each_ones_order(make: Make, start: Start, path: Path) -> None:
    layer = make()
    for producer in [start(PRODUCER, path, sender, 100) for sender in range(2)]:
        assert producer.wait(30) == 0
    got = [(delivery.message["sender"], delivery.message["n"]) for delivery in layer.receive_batch(["work"], limit=500)]
    for sender in range(2):
        assert [n for who, n in got if who == sender] == list(range(100))


def test_a_process_that_is_killed_in_the_middle_of_writing_harms_nobody(make: Make, start: Start, path: Path) -> None:
    layer = make()
    for _ in range(3):
        victim = start(PRODUCER, path, 0, 1_000_000)
        assert layer.receive_batch(["work"], timeout=20)
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
        layer.flush()
        layer.send("room", {"n": 1})
        assert layer.receive(["room"]) == ("room", {"n": 1})
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_members_of_a_process_that_died_are_passed_over(
    make: Make, start: Start, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make()
    reader = start(READER, path)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    layer.group_add("group", "process!a")
    layer.group_add("group", "plain")
    layer.send_group("group", {"n": 1})
    assert sorted(layer.group_channels("group")) == ["plain", "process!a"]
    reader.kill()
    reader.wait(20)
    now = schema.clock()
    monkeypatch.setattr(groups, "clock", lambda: now + groups.SILENT_SECONDS + 1)
    assert layer.group_channels("group") == ["plain"]
    before = layer.channel_statistics("process!a")["messages_count"]
    monkeypatch.setattr("channel_layer.sqlite.queues.clock", groups.clock)
    layer.send_group("group", {"n": 2})
    assert layer.channel_statistics("process!a")["messages_count"] == before


def test_a_process_that_was_silent_for_long_puts_its_memberships_back(make: Make) -> None:
    server, worker = make(), make()
    worker.group_add("group", "process!a")
    assert server.receive_batch(["process!"]) == []
    server._engine.database.write(lambda c: groups.drop_gone(c, schema.clock() + GONE_SECONDS + 1))
    assert worker.group_channels("group") == []
    server._chores_due = 0
    server.receive_batch(["process!"])
    assert worker.group_channels("group") == ["process!a"]


def test_members_of_a_reader_that_waits_long_stay_members(make: Make, eventually: Eventually) -> None:
    server, worker = make(), make()
    server.receive_batch(["process!"])
    worker.group_add("group", "process!a")

    def age(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE readers SET seen = seen - ?", (groups.SILENT_SECONDS,))

    thread = threading.Thread(target=server.receive_batch, args=(["process!", "stop"],), kwargs={"timeout": 60})
    thread.start()
    worker._engine.database.write(age)
    assert worker.group_channels("group") == []
    server._chores_due = 0
    eventually(lambda: worker.group_channels("group") == ["process!a"], "a heartbeat of the waiting reader")
    worker.send("stop", {})
    thread.join(20)
    assert not thread.is_alive()


def test_a_member_that_was_forgotten_before_its_process_heard_of_it_stays_forgotten(make: Make) -> None:
    server, worker = make(), make()
    worker.group_add("group", "process!gone")
    worker.group_add("group", "process!kept")
    asyncio.run(server.aforget(["process!gone"]))
    worker.send_group("group", {"n": 1})
    [delivery] = server.receive_batch(["process!"])
    assert delivery.members == ("kept",)


def test_memberships_take_no_capacity(make: Make) -> None:
    layer = make(capacity=1)
    for n in range(10):
        layer.group_add("group", f"process!{n}")
    layer.send_group("group", {"n": 1})
    assert layer.counters.group_full == 0
    assert len(layer.receive_batch(["process!"])[0].members or ()) == 10


def test_bytes_that_are_no_frame_are_dropped_and_counted(make: Make, path: Path) -> None:
    layer = make()
    layer.send("room", {"n": 1})
    with sqlite3.connect(path) as other:
        other.execute("UPDATE frames SET data = ?", (b"\xc1",))
    other.close()
    layer.send("room", {"n": 2})
    assert layer.receive(["room"]) == ("room", {"n": 2})
    assert layer.counters.bad_frames == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(make: Make) -> None:
    layer = make()
    layer.send("to.child", {"n": 1})
    waiting = threading.Thread(target=layer.receive_batch, args=(["never", "stop"],), kwargs={"timeout": 60})
    waiting.start()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            [delivery] = layer.receive_batch(["to.child"], timeout=30)
            layer.send("to.parent", delivery.message)
            [delivery] = layer.receive_batch(["to.child"], timeout=30)
            layer.send("to.parent", delivery.message)
            status = 0
        finally:
            os._exit(status)
    for n in (1, 2):
        [delivery] = layer.receive_batch(["to.parent"], timeout=20)
        assert delivery.message == {"n": n}
        layer.send("to.child", {"n": n + 1})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    layer.send("stop", {})
    waiting.join(20)
    assert not waiting.is_alive()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_speak_for_its_parents_members(make: Make) -> None:
    layer = make()
    layer.group_add("group", "process!a")
    layer.receive_batch(["process!"])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            layer.send("room", {"n": 1})
            status = 0 if not layer._read and not list(layer.index.memberships("process!")) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [local for _, local, _ in layer.index.memberships("process!")] == ["a"]


def test_processes_meet_again_when_the_file_was_deleted(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(layer_module, "LOOK_SECONDS", 0.02)
    server = make()
    server.group_add("group", "process!a")
    server.receive_batch(["process!"])
    for file in path.parent.iterdir():
        file.unlink()
    worker = make()

    def members() -> list[str]:
        server.receive_batch(["process!"])
        return worker.group_channels("group")

    eventually(members, "the memberships in the new file")
    worker.send_group("group", {"n": 1})
    [delivery] = server.receive_batch(["process!"], timeout=30)
    assert delivery.members == ("a",)


def test_a_waiting_reader_notices_that_the_file_was_deleted(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_module, "LOOK_SECONDS", 0.02)
    reader, sender = make(), make()
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(reader.receive_batch(["room"], timeout=60)))
    reader.check()
    thread.start()
    for file in path.parent.iterdir():
        file.unlink()
    sender.send("room", {"n": 1})
    thread.join(20)
    assert [delivery.message for delivery in got] == [{"n": 1}]


def test_a_file_that_a_stranger_replaced_is_a_clear_error(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(layer_module, "LOOK_SECONDS", 0.02)
    layer = make()
    layer.check()
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")

    def complaint() -> str:
        try:
            layer.send("room", {"n": 1})
        except LayerConfigurationError as error:
            return str(error)
        return ""

    assert f"{path} is a symbolic link, so the channel layer does not use it" in eventually(complaint, "the complaint")


def test_a_file_from_before_the_machine_was_started_is_emptied(make: Make, path: Path) -> None:
    before = make()
    before.send("room", {"n": 1})
    before.group_add("group", "room")
    before.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE facts SET value = 'another boot' WHERE name = 'boot'")
    other.close()
    after = make()
    assert after.receive(["room"]) == (None, None)
    assert after.group_channels("group") == []


def test_what_expired_is_removed_though_nobody_comes_for_it(make: Make, path: Path) -> None:
    layer = make(expiry=0.01)
    layer.send("deserted?x", {"n": 1})

    def due(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE facts SET value = 0 WHERE name = 'swept'")
        connection.execute("UPDATE frames SET expires = 0")

    layer._engine.database.write(due)
    layer._chores_due = 0
    layer.send("other", {"n": 1})
    rows = layer._engine.database.read(lambda c: c.execute("SELECT channel FROM frames").fetchall())
    assert rows == [("other",)]
    assert layer.counters.expired == 1


def test_a_file_that_stays_locked_makes_the_layer_unavailable(
    make: Make, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make()
    layer.check()
    monkeypatch.setattr(patience, "LOCK_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for operation in (layer.send, layer.group_add):
        with pytest.raises(LayerUnavailable, match="other processes kept it locked") as caught:
            operation("room", {"n": 1} if operation == layer.send else "process!a")
        assert not caught.value.uncertain
    with pytest.raises(LayerUnavailable, match="other processes kept it locked"):
        asyncio.run(layer.asend("room", {"n": 1}))
    other.close()
    layer.send("room", {"n": 2})
    assert layer.receive(["room"]) == ("room", {"n": 2})


def test_a_full_disk_makes_the_layer_unavailable_and_loses_nothing(make: Make) -> None:
    layer = make()
    layer.send("room", {"n": 1})
    layer._engine.database.read(lambda c: c.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(LayerUnavailable, match="no space is left") as caught:
        layer.send("room", {"b": b"x" * 1_000_000})
    assert not caught.value.uncertain
    layer._engine.database.read(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert layer.receive(["room"]) == ("room", {"n": 1})
    assert layer.receive(["room"]) == (None, None)


def test_on_a_full_device_nothing_is_taken_that_is_not_handed_out(small_disk: SmallDisk) -> None:
    layer = SqliteChannelLayer(small_disk.path / "layer.sqlite3")
    layer.send("room", {"n": 1})
    layer.group_add("group", "room")
    layer._engine.database.merge_log()
    small_disk.fill()
    for operation in (lambda: layer.receive(["room"]), lambda: layer.send("room", {"n": 2})):
        with pytest.raises(LayerUnavailable, match="no space is left") as caught:
            operation()
        assert not caught.value.uncertain
    small_disk.clear()
    assert layer.receive(["room"]) == ("room", {"n": 1})
    layer.send("room", {"n": 3})
    assert layer.receive(["room"]) == ("room", {"n": 3})
    assert layer.receive(["room"]) == (None, None)
    layer.close()


def test_what_filled_the_device_can_be_taken(small_disk: SmallDisk) -> None:
    layer = SqliteChannelLayer(small_disk.path / "layer.sqlite3")
    sent = 0

    def send_one() -> bool:
        nonlocal sent
        layer.send("room", {"n": sent, "b": bytes(20_000)})
        sent += 1
        return True

    with pytest.raises(LayerUnavailable, match="no space is left"):
        all(iter(send_one, False))
    assert sent > 20
    taken: list[Any] = []
    while deliveries := layer.receive_batch(["room"], limit=3):
        taken += [delivery.message["n"] for delivery in deliveries]
    assert taken == list(range(sent))
    layer.send("room", {"n": sent})
    layer.close()


LIMITED = """
import resource, sys
from channel_layer.sqlite import SqliteChannelLayer
from channel_layer.exceptions import LayerUnavailable
layer = SqliteChannelLayer(sys.argv[1])
layer.send("room", {"n": 1})
largest, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, most))
try:
    layer.send("room", {"n": 2, "b": bytes(100_000)})
except LayerUnavailable as error:
    print(error.uncertain, error.reason, layer.counters.possible_losses)
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, most))
print(layer.receive(["room"]), layer.receive(["room"]))
"""


def test_a_commit_that_fails_while_writing_is_uncertain_and_the_layer_goes_on(start: Start, path: Path) -> None:
    process = start(LIMITED, path)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines() == ["True disk I/O error 0", "('room', {'n': 1}) (None, None)"]


def test_a_file_that_cannot_be_written_makes_the_layer_unavailable(make: Make) -> None:
    layer = make()
    layer.check()
    layer._engine.database.read(lambda c: c.execute("PRAGMA query_only = 1").fetchone())
    with pytest.raises(LayerUnavailable, match="cannot be written to; check its owner"):
        layer.send("room", {"n": 1})


def test_somebody_elses_database_is_left_alone(make: Make, path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
    other.close()
    with pytest.raises(LayerConfigurationError, match="some other program's database"):
        make().check()
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    other.close()


def test_a_file_that_is_no_database_is_a_clear_error(make: Make, path: Path) -> None:
    path.write_bytes(b"these are not the bytes of a database" * 100)
    with pytest.raises(LayerConfigurationError, match="damaged or no SQLite file"):
        make().check()


def test_a_file_of_another_version_is_a_clear_error(make: Make, path: Path) -> None:
    make().check()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(LayerConfigurationError, match=r"format 99.*delete it"):
        make().check()


def test_a_python_with_an_old_sqlite_is_told_which_one_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_module.sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(LayerConfigurationError, match=r"needs SQLite 3\.35 or later"):
        SqliteChannelLayer()


def test_path_and_name_together_are_refused(path: Path) -> None:
    with pytest.raises(LayerConfigurationError, match="either path or name"):
        SqliteChannelLayer(path, name="shop")


def test_making_a_layer_touches_no_file(make: Make, path: Path) -> None:
    layer = make()
    assert not path.exists()
    assert layer.describe() == f"sqlite file {path}"


def test_closing_leaves_no_thread_behind(make: Make, eventually: Eventually) -> None:
    before = set(threading.enumerate())
    layer = make()

    async def use() -> None:
        await layer.asend("room", {"n": 1})
        await layer.areceive(["room"])
        await layer.areceive(["room"], timeout=0.01)

    asyncio.run(use())
    layer.close()
    eventually(lambda: set(threading.enumerate()) <= before, "the end of the layer's threads")


def test_a_receive_that_is_cancelled_before_it_hands_over_takes_nothing(make: Make, path: Path) -> None:
    layer = make()
    layer.send("room", {"n": 1})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:

        async def main() -> list[Delivery]:
            other.execute("BEGIN IMMEDIATE")
            receiving = asyncio.create_task(layer.areceive_batch(["room"]))
            await asyncio.sleep(0)  # it has read that there is something, and waits in a thread to take it
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            assert receiving.cancelled()
            other.execute("ROLLBACK")
            return await layer.areceive_batch(["room"], timeout=20)

        assert [delivery.message for delivery in asyncio.run(main())] == [{"n": 1}]


def test_frames_that_two_threads_take_are_opened_in_their_order(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make()
    layer.receive_batch(["process!"])
    layer.group_add("group", "process!a")
    layer.group_discard("group", "process!a")
    intruder = Intruder(lambda: layer.receive_batch(["process!"]))
    real = layer.open_frames

    def open_frames(reader: str, frames: Any) -> list[Delivery]:
        intruder()
        return real(reader, frames)

    monkeypatch.setattr(layer, "open_frames", open_frames)
    layer.receive_batch(["process!"])
    intruder.finish()
    assert layer.index.members("process!", "group") == ()


def test_two_threads_of_a_forked_child_share_what_it_holds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make()
    real, made = layer._new_engine, []
    intruder = Intruder(lambda: layer.send("room", {"n": 1}))

    def new_engine() -> Any:
        intruder()
        made.append(real())
        return made[-1]

    monkeypatch.setattr(layer, "_new_engine", new_engine)
    monkeypatch.setattr(layer_module.os, "getpid", lambda: 1)
    layer.send("room", {"n": 2})
    intruder.finish()
    assert len(made) == 1


def test_many_waiting_receivers_take_no_thread_each(make: Make) -> None:
    layer = make()
    others = set(threading.enumerate())

    async def main() -> None:
        waiting = [asyncio.create_task(layer.areceive_batch([f"room.{n}"], timeout=60)) for n in range(50)]
        await layer.asend("room.7", {"n": 7})
        assert [delivery.message for delivery in await waiting[7]] == [{"n": 7}]
        assert len(set(threading.enumerate()) - others) < 20
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(main())


def test_waiting_burns_no_core(make: Make) -> None:
    layer = make()
    before = resource.getrusage(resource.RUSAGE_SELF)
    layer.receive_batch(["never"], timeout=2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 0.5  # of two seconds; the pauses aim at a hundredth
