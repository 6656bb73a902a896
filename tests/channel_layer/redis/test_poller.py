from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.poller import Poller, Pollers
from channel_layer.redis.scripts import Call, plain
from channel_layer.redis.servers import parse_hosts
from channel_layer.redis.sync_driver import SyncConnection, SyncDriver
from tests.conftest import free_port, wait_until


@pytest.fixture
def driver(redis_url: str) -> Iterator[SyncDriver]:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    driver = SyncDriver(parse_hosts([redis_url, redis_url.removesuffix("0") + "1", nobody], None))
    yield driver
    driver.run(0, [plain("DEL", "poll:x")])
    driver.run(1, [plain("DEL", "poll:x")])
    driver.close()


def test_the_server_that_answers_first_is_named(driver: SyncDriver) -> None:
    poller = Poller(driver)
    poller.start([0, 1], lambda shard: [plain("BLPOP", "poll:x", 2)], [0, 1])
    assert poller.wait(0) is None
    driver.run(1, [plain("RPUSH", "poll:x", "here")])
    assert poller.wait(2) == 1
    assert poller.finish(1) == [[b"poll:x", b"here"]]
    assert poller.waiting == [0]
    driver.run(0, [plain("RPUSH", "poll:x", "there")])
    assert poller.wait(2) == 0
    assert poller.finish(0) == [[b"poll:x", b"there"]]


def test_a_connection_that_is_lost_while_nobody_waits_hides_no_other(driver: SyncDriver) -> None:
    poller = Poller(driver)

    def calls(shard: int) -> list[Call]:
        return [plain("BLPOP", "poll:x", 20)]

    poller.start([0, 1], calls, [0, 1])
    driver.run(1, [plain("RPUSH", "poll:x", "here")])
    killed = poller._connections[0]
    driver.run(0, [plain("CLIENT", "KILL", "ID", killed.client_id)])
    wait_until(killed.has_answer, "the end of the connection")
    seen = {}
    for _ in range(2):
        shard = poller.wait(30)
        assert shard is not None
        try:
            seen[shard] = poller.finish(shard)
        except LayerUnavailable as error:
            assert error.uncertain  # noqa: PT017 - one of two servers
    assert seen == {1: [[b"poll:x", b"here"]]}
    assert poller.waiting == []
    assert poller.start([0, 1], calls, [0, 1]) == {0, 1}, "nothing is wrong with either server"
    driver.run(0, [plain("RPUSH", "poll:x", "again")])
    assert poller.wait(30) == 0
    assert poller.finish(0) == [[b"poll:x", b"again"]]


def test_a_pop_that_was_closed_from_outside_is_named(driver: SyncDriver) -> None:
    poller = Poller(driver)
    poller.start([0], lambda shard: [plain("BLPOP", "poll:x", 20)], [0])
    driver.close()
    assert poller.wait(0) == 0
    with pytest.raises(LayerUnavailable):
        poller.finish(0)


def test_a_server_that_refuses_us_is_named_once_and_hides_no_other(
    driver: SyncDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    poller = Poller(driver)

    def refuse(connection: SyncConnection) -> None:
        raise redis.AuthenticationError("invalid password")

    poller.start([1], lambda shard: [plain("PING")], [1])
    with monkeypatch.context() as patch:
        patch.setattr(SyncConnection, "_open", refuse)
        for _ in range(3):
            assert poller.start([0, 1], lambda shard: [plain("PING")], [0, 1]) == set()
    assert poller.finish(1) == [b"PONG"]
    assert caplog.text.count("refuses us: invalid password. Check user and password in 'hosts'.") == 1
    assert poller.start([0], lambda shard: [plain("PING")], [0]) == {0}
    assert poller.finish(0) == [b"PONG"]


def test_a_forked_process_waits_for_nothing_of_its_parent(driver: SyncDriver) -> None:
    pollers = Pollers(driver)
    poller = pollers.borrow(("a",))
    poller.start([0], lambda shard: [plain("BLPOP", "poll:x", 20)], [0])
    pollers.give_back(("a",), poller)
    child = os.fork()
    if child == 0:
        os._exit(0 if pollers.borrow(("a",)).waiting == [] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pollers.borrow(("a",)).waiting == [0]


def test_a_pop_that_waits_is_not_begun_again(driver: SyncDriver) -> None:
    poller = Poller(driver)
    begun: list[int] = []
    for _ in range(2):
        poller.start([0], lambda shard: begun.append(shard) or [plain("BLPOP", "poll:x", 1)], [0])  # type: ignore[func-returns-value]
    assert begun == [0]
    driver.run(0, [plain("RPUSH", "poll:x", "a")])
    assert poller.finish(0) == [[b"poll:x", b"a"]]


def test_a_server_that_is_down_is_left_out(driver: SyncDriver) -> None:
    poller = Poller(driver)
    asked: list[int] = []

    def calls(shard: int) -> list[Call]:
        asked.append(shard)
        return [plain("PING")]

    assert poller.start([0, 2], calls, [0, 2]) == {0}
    assert poller.start([0, 2], calls, [0, 2]) == set()
    assert asked == [0, 2]
    assert poller.finish(0) == [b"PONG"]


def test_an_answer_that_is_overdue_is_given_up_however_busy_the_other_servers_are(
    driver: SyncDriver, caplog: pytest.LogCaptureFixture
) -> None:
    poller = Poller(driver)
    poller.start([0, 1], lambda shard: [plain("BLPOP", "poll:y", 2)], [0, 1])
    driver.run(1, [plain("RPUSH", "poll:y", "here")])
    poller._connections[0].deadline = 0.0
    assert poller.wait(20) == 0
    with pytest.raises(LayerUnavailable, match="no answer to a blocking pop"):
        poller.finish(0)
    assert "is left out until it answers: no answer to a blocking pop" in caplog.text
    assert poller.wait(20) == 1
    assert poller.finish(1) == [[b"poll:y", b"here"]]
    wait_until(lambda: not driver.hosts[0].outage.is_down, "the probe to find it up")


def test_with_no_server_left_it_is_an_unavailable_layer(driver: SyncDriver) -> None:
    poller = Poller(driver)
    for _ in range(2):
        with pytest.raises(LayerUnavailable):
            poller.start([2], lambda shard: [plain("PING")], [2])


def test_a_poller_is_lent_to_one_receive_at_a_time(driver: SyncDriver) -> None:
    pollers = Pollers(driver)
    first, second = pollers.borrow(("a", "b")), pollers.borrow(("a", "b"))
    assert first is not second
    pollers.give_back(("a", "b"), first)
    assert pollers.borrow(("c",)) is not first
    assert pollers.borrow(("a", "b")) is first
    pollers.give_back(("a", "b"), first)
    assert pollers.take(()) == [(("a", "b"), first)]
    assert pollers.take(()) == []


def test_pollers_that_could_take_a_message_from_another_receive_are_ended(driver: SyncDriver) -> None:
    pollers = Pollers(driver)
    mine, overlapping, other = (pollers.borrow(channels) for channels in (("a", "b"), ("b", "c"), ("d",)))
    pollers.give_back(("a", "b"), mine)
    pollers.give_back(("b", "c"), overlapping)
    pollers.give_back(("d",), other)
    assert pollers.take(("a", "b")) == [(("b", "c"), overlapping)]
    assert pollers.borrow(("a", "b")) is mine
    assert pollers.borrow(("d",)) is other
