from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import PUSH, Call, plain
from channel_layer.redis.sync_driver import SyncDriver
from tests.conftest import free_port


@pytest.fixture
def driver(redis_url: str) -> SyncDriver:
    return SyncDriver([Host(redis_url)])


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
