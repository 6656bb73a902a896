from __future__ import annotations

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import PUSH, Call, plain
from channel_layer.redis.sync_driver import IDLE_SECONDS, SyncConnection, SyncDriver
from tests.conftest import free_port, wait_until

from .conftest import open_descriptors


@pytest.fixture
def driver(redis_url: str) -> Iterator[SyncDriver]:
    driver = SyncDriver([Host(redis_url)])
    yield driver
    driver.close()


@pytest.fixture
def other(redis_url: str) -> Iterator[SyncDriver]:
    other = SyncDriver([Host(redis_url)])
    yield other
    other.close()


def test_replies_come_in_order_with_errors_among_them(driver: SyncDriver) -> None:
    first, error, last = driver.run(0, [plain("ECHO", "a"), plain("LPUSH"), plain("ECHO", "b")])
    assert (first, last) == (b"a", b"b")
    assert "wrong number of arguments" in str(error)


def test_a_script_that_the_server_forgot_is_sent_in_full(driver: SyncDriver) -> None:
    driver.run(0, [plain("PING")])
    driver.run(0, [plain("SCRIPT", "FLUSH")])
    call = Call(PUSH, ["drv:s", "drv:c", "drv:sc"], [60_000, 60_000, 10, 1, b"frame"])
    assert driver.run(0, [plain("ECHO", "x"), call]) == [b"x", None]
    assert driver.run(0, [plain("LLEN", "drv:c"), plain("DEL", "drv:s", "drv:c", "drv:sc")])[0] == 1


def test_a_server_that_refuses_the_connection_surely_did_nothing() -> None:
    with pytest.raises(LayerUnavailable) as caught:
        SyncDriver([Host(f"redis://127.0.0.1:{free_port()}/0")]).run(0, [plain("PING")])
    assert not caught.value.uncertain


def test_a_connection_lost_between_question_and_answer_leaves_it_open_what_happened(driver: SyncDriver) -> None:
    driver.run(0, [plain("PING")])
    with pytest.raises(LayerUnavailable) as caught:
        driver.run(0, [plain("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), plain("PING")])
    assert caught.value.uncertain
    assert driver.run(0, [plain("ECHO", "again")]) == [b"again"]


def test_each_thread_has_a_connection_of_its_own(driver: SyncDriver) -> None:
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(driver.run(0, [plain("CLIENT", "ID")])[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids += driver.run(0, [plain("CLIENT", "ID")]) + driver.run(0, [plain("CLIENT", "ID")])
    assert len(ids) == 5
    assert len(set(ids)) == 4


def test_a_blocked_call_returns_when_it_is_unblocked(driver: SyncDriver, eventually: Callable[..., object]) -> None:
    replies: list[object] = []
    thread = threading.Thread(target=lambda: replies.extend(driver.run_blocking(0, [plain("BLPOP", "drv:none", 3)])))
    thread.start()
    eventually(lambda: driver.unblock() or replies, "the end of the blocked call")
    thread.join()
    assert str(replies[0]).startswith("UNBLOCKED")


def test_what_was_begun_can_be_finished_later_and_by_another_thread(driver: SyncDriver) -> None:
    connection = driver.start(0, [plain("BLPOP", "drv:later", 2)])
    assert not connection.has_answer()
    driver.run(0, [plain("RPUSH", "drv:later", "x")])
    replies: list[object] = []
    thread = threading.Thread(target=lambda: replies.extend(driver.finish(connection)))
    thread.start()
    thread.join()
    assert replies == [[b"drv:later", b"x"]]
    assert driver.start(0, [plain("PING")]) is connection, "an idle connection is used again"
    assert driver.finish(connection) == [b"PONG"]


def test_a_closed_driver_connects_again(driver: SyncDriver) -> None:
    driver.run(0, [plain("PING")])
    driver.close()
    assert driver.run(0, [plain("ECHO", "x")]) == [b"x"]


PING = [plain("PING")]


def run(driver: SyncDriver) -> Any:
    return driver.run(0, PING)


def run_blocking(driver: SyncDriver) -> Any:
    return driver.run_blocking(0, PING)


def start(driver: SyncDriver) -> Any:
    return driver.finish(driver.start(0, PING))


def begin_behind(driver: SyncDriver) -> Any:
    connection = driver.begin_behind(0, PING, PING)
    assert driver.first_replies(connection, PING) == [b"PONG"]
    return driver.last_replies(connection)


def unblock(driver: SyncDriver) -> Any:
    waiting = driver.start(0, [plain("BLPOP", "drv:none", 20)])
    driver.unblock()
    assert str(driver.finish(waiting)[0]).startswith("UNBLOCKED")
    return [b"PONG"]


def abandon(driver: SyncDriver) -> Any:
    driver.abandon(driver.start(0, PING))
    return driver.run(0, PING)


USES = [run, run_blocking, start, begin_behind, unblock, abandon]


def connections_of(driver: SyncDriver) -> list[SyncConnection]:
    return list(driver._all)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("spoil", ["closed", "unread"])
def test_an_idle_connection_that_the_server_spoilt_is_opened_anew_before_it_is_used(
    driver: SyncDriver, other: SyncDriver, use: Callable[[SyncDriver], Any], spoil: str
) -> None:
    connection = driver.start(0, [plain("CLIENT", "ID")])
    ids = driver.finish(connection) + driver.run(0, [plain("CLIENT", "ID")])
    assert len(set(ids)) == 2
    if spoil == "closed":
        for mine in ids:
            other.run(0, [plain("CLIENT", "KILL", "ID", mine)])
    else:
        for idle in connections_of(driver):
            idle._socket.sendall(b"PING\r\n")
    since = time.monotonic()
    for idle in connections_of(driver):
        wait_until(idle.has_answer, "news on the idle connection")
    wait_until(lambda: time.monotonic() - since > 2 * IDLE_SECONDS, "a connection that counts as idle")
    assert use(driver) == [b"PONG"]
    assert driver.run(0, [plain("ECHO", "x")]) == [b"x"]


@pytest.mark.parametrize("spoil", ["closed", "unread"])
def test_the_same_of_one_that_was_to_be_woken_for_the_answer_behind_a_push(
    driver: SyncDriver, other: SyncDriver, spoil: str
) -> None:
    push = Call(PUSH, ["drv:s", "drv:c", "drv:sc"], [60_000, 60_000, 10, 1, b"frame"])
    connection = driver.begin_behind(0, [push], [plain("CLIENT", "ID"), plain("DEL", "drv:s", "drv:c", "drv:sc")])
    driver.first_replies(connection, [push])
    mine, _ = driver.last_replies(connection)
    if spoil == "closed":
        other.run(0, [plain("CLIENT", "KILL", "ID", mine)])
    else:
        connection._socket.sendall(b"PING\r\n")
    since = time.monotonic()
    wait_until(connection.has_answer, "news on the idle connection")
    wait_until(lambda: time.monotonic() - since > 2 * IDLE_SECONDS, "a connection that counts as idle")
    assert driver.run(0, PING) == [b"PONG"]


def test_connections_are_closed_with_their_threads(driver: SyncDriver) -> None:
    driver.run(0, PING)
    before = open_descriptors()
    for _ in range(300):
        thread = threading.Thread(target=driver.run, args=(0, PING))
        thread.start()
        thread.join()
    assert open_descriptors() == before


def test_a_forked_process_leaves_the_connections_of_its_parent_alone(driver: SyncDriver) -> None:
    mine = driver.run(0, [plain("CLIENT", "ID")])
    mine += driver.finish(driver.start(0, [plain("CLIENT", "ID")]))
    waiting = driver.start(0, [plain("BLPOP", "drv:fork", 20)])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ids = driver.run(0, [plain("CLIENT", "ID")]) + driver.finish(driver.start(0, [plain("CLIENT", "ID")]))
            driver.unblock()
            os.write(writer, json.dumps(ids).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader) as pipe:
        theirs = json.load(pipe)
    assert len({*mine, *theirs}) == 4
    assert driver.run(0, [plain("CLIENT", "ID"), plain("RPUSH", "drv:fork", "x")])[0] == mine[0]
    assert driver.finish(waiting) == [[b"drv:fork", b"x"]]


class BrokenSocket:
    """Takes the place of a connection's socket and raises, or says what is not an answer."""

    def __init__(self, real: Any, moment: str, trouble: BaseException | bytes) -> None:
        self._real, self._moment, self._trouble = real, moment, trouble

    def sendall(self, data: bytes) -> None:
        if self._moment == "writing":
            self._raise()
        self._real.sendall(data)

    def recv_into(self, buffer: memoryview) -> int:
        said = self._raise()
        buffer[: len(said)] = said
        return len(said)

    def pending(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _raise(self) -> bytes:
        if isinstance(self._trouble, bytes):
            return self._trouble
        raise self._trouble


TROUBLES = [
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
    TimeoutError("timed out"),
    OSError(9, "Bad file descriptor"),
    ssl.SSLError(1, "[SSL] internal error"),
    ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)"),
    EOFError(),
    redis.ConnectionError("Connection closed by server."),
    redis.TimeoutError("Timeout reading from socket"),
    redis.InvalidResponse("Protocol error"),
    b"",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"-NOAUTH Authentication required.\r\n",
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=repr)
@pytest.mark.parametrize("moment", ["writing", "reading"])
@pytest.mark.parametrize("use", USES)
def test_nothing_of_the_driver_below_comes_out(
    driver: SyncDriver, use: Callable[[SyncDriver], Any], moment: str, trouble: BaseException | bytes
) -> None:
    if moment == "writing" and isinstance(trouble, bytes):
        trouble = OSError("what is read has nothing to do with writing")
    driver.finish(driver.start(0, PING))
    driver.run(0, PING)
    for connection in connections_of(driver):
        connection._socket = BrokenSocket(connection._socket, moment, trouble)
    broken = connections_of(driver)

    def use_both() -> None:  # most make do with one of the two
        use(driver)
        use(driver)

    with pytest.raises(LayerUnavailable) as caught:
        use_both()
    assert caught.value.uncertain
    assert type(caught.value) is (LayerUnusable if b"NOAUTH" in repr(trouble).encode() else LayerUnavailable)
    assert any(connection.client_id is None for connection in broken), "it was closed"
    for connection in broken:
        if connection.client_id is not None:
            driver.abandon(connection)
    assert driver.run(0, [plain("ECHO", "x")]) == [b"x"]


def test_every_method_is_among_those() -> None:
    public = {name for name, thing in vars(SyncDriver).items() if callable(thing) and not name.startswith("_")}
    used = {name for use in USES for name in use.__code__.co_names}
    assert public - used == {"close", "forget"}


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if isinstance(trouble, BaseException)], ids=repr)
@pytest.mark.parametrize("use", [run, run_blocking, start, begin_behind])
def test_what_fails_while_a_connection_is_opened_has_surely_done_nothing(
    driver: SyncDriver, use: Callable[[SyncDriver], Any], trouble: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: Any) -> None:
        raise trouble

    with monkeypatch.context() as patch:
        patch.setattr(redis.Connection, "connect", connect)
        with pytest.raises(LayerUnavailable) as caught:
            use(driver)
    assert not caught.value.uncertain
    assert use(driver) == [b"PONG"]


def test_a_connection_that_was_closed_while_an_answer_was_due_is_not_opened_again(driver: SyncDriver) -> None:
    connection = driver.start(0, [plain("BLPOP", "drv:none", 20)])
    driver.close()
    assert connection.has_answer()
    assert connection.fileno() < 0
    with pytest.raises(LayerUnavailable, match="closed before the answer came") as caught:
        driver.finish(connection)
    assert caught.value.uncertain
