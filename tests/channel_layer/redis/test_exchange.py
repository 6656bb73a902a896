from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.scripts import plain

from .conftest import MakeRedisLayer, OwnRedis

Eventually = Callable[..., object]
Told = list[tuple[int, LayerUnavailable | None]]


class Waiting:
    """An exchange in a thread of its own, which sends to ``out`` and waits for ``in``."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self.told: Told = []
        self._layer = layer
        pool = ThreadPoolExecutor(1)
        self.result: Future[list[Any]] = pool.submit(self._run)
        pool.shutdown(wait=False)

    def _run(self) -> list[Any]:
        exchange = self._layer.begin_exchange([self._layer.prepare("out", {"n": 1})], ["in"], timeout=60)
        found = exchange.finish(lambda refused, error: self.told.append((len(refused), error)))
        return [delivery.message for delivery in found]


def command(layer: RedisChannelLayer, *words: Any) -> Any:
    return layer._sync.run(0, [plain(*words)])[0]


def is_blocked(layer: RedisChannelLayer) -> bool:
    return b" cmd=blmpop" in command(layer, "CLIENT", "LIST")


@pytest.fixture
def layers(own_redis: OwnRedis, make_redis_layer: MakeRedisLayer) -> tuple[RedisChannelLayer, RedisChannelLayer]:
    """One that exchanges, and one to look on with."""
    layer = make_redis_layer(own_redis.url)
    layer.receive_batch(["in"])  # what it does now and then besides is done
    return layer, make_redis_layer(own_redis.url)


def test_a_script_that_the_server_forgot_is_run_while_the_exchange_waits(
    layers: tuple[RedisChannelLayer, RedisChannelLayer], eventually: Eventually
) -> None:
    layer, other = layers
    first = Waiting(layer)
    eventually(lambda: is_blocked(other), "the pop to wait")
    command(other, "SCRIPT", "FLUSH")
    other.send("in", {"n": 0})
    assert first.result.result(20) == [{"n": 0}]
    assert other.receive(["out"], block=True) == ("out", {"n": 1})
    command(other, "SCRIPT", "FLUSH")
    second = Waiting(layer)
    assert other.receive(["out"], block=True) == ("out", {"n": 1})
    eventually(lambda: second.told, "the outcome")
    assert second.told == [(0, None)]
    assert not second.result.done()
    other.send("in", {"n": 2})
    assert second.result.result(20) == [{"n": 2}]


def test_a_server_that_is_away_surely_has_nothing(own_redis: OwnRedis, make_redis_layer: MakeRedisLayer) -> None:
    own_redis.kill()
    layer = make_redis_layer(own_redis.url)
    waiting = Waiting(layer)
    with pytest.raises(LayerUnavailable):
        waiting.result.result(20)
    [(refused, error)] = waiting.told
    assert refused == 0
    assert error is not None
    assert not error.uncertain
    assert layer.counters.possible_losses == 0


def test_a_connection_cut_while_it_waits_may_lose_what_it_waits_for_but_not_what_was_sent(
    layers: tuple[RedisChannelLayer, RedisChannelLayer], eventually: Eventually
) -> None:
    layer, other = layers
    waiting = Waiting(layer)
    eventually(lambda: is_blocked(other), "the pop to wait")
    command(other, "CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(LayerUnavailable):
        waiting.result.result(20)
    assert waiting.told == [(0, None)]
    assert layer.counters.possible_losses == 1
    assert other.receive(["out"]) == ("out", {"n": 1})


def test_a_connection_lost_before_the_answer_leaves_both_open(
    layers: tuple[RedisChannelLayer, RedisChannelLayer],
) -> None:
    layer, _ = layers
    begun = layer.begin_exchange([layer.prepare("out", {"n": 1})], ["in"], timeout=60)
    connection = layer._sync._mine(0)
    connection._socket.shutdown(2)
    while connection._socket.recv(1000):
        pass
    told: Told = []
    with pytest.raises(LayerUnavailable):
        begun.finish(lambda refused, error: told.append((len(refused), error)))
    [(_, error)] = told
    assert error is not None
    assert error.uncertain
    assert layer.counters.possible_losses == 2


def test_an_interrupted_exchange_has_sent(
    layers: tuple[RedisChannelLayer, RedisChannelLayer], eventually: Eventually
) -> None:
    layer, other = layers
    waiting = Waiting(layer)
    eventually(lambda: is_blocked(other), "the pop to wait")
    layer.interrupt()
    assert waiting.result.result(20) == []
    assert waiting.told == [(0, None)]
    assert other.receive(["out"]) == ("out", {"n": 1})


def test_one_that_finds_only_what_has_expired_waits_on(
    layers: tuple[RedisChannelLayer, RedisChannelLayer], eventually: Eventually
) -> None:
    layer, other = layers
    command(other, "RPUSH", layer._storage.keys[0].queues + "in", b"\x00" * 8 + b"expired long ago")
    waiting = Waiting(layer)
    eventually(lambda: layer.counters.expired == 1, "the expired message to be noticed")
    other.send("in", {"n": 3})
    assert waiting.result.result(20) == [{"n": 3}]
    assert waiting.told == [(0, None)]


def test_many_threads_exchange_at_once_and_each_message_is_answered_once(
    layers: tuple[RedisChannelLayer, RedisChannelLayer],
) -> None:
    layer, other = layers
    total = 500
    answered: list[int] = []
    stop = threading.Event()

    def answer() -> None:
        answers: list[Any] = []
        while not stop.is_set():
            if answers:
                found = layer.begin_exchange(answers, ["in"], limit=7, timeout=0.2).finish(lambda *outcome: None)
            else:
                found = layer.receive_batch(["in"], limit=7, timeout=0.2)
            answers = [layer.prepare("out", delivery.message) for delivery in found]

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(answer) for _ in range(4)]
        for n in range(total):
            other.send("in", {"n": n})
        while len(answered) < total and (found := other.receive_batch(["out"], limit=100, timeout=20)):
            answered += [delivery.message["n"] for delivery in found]
        stop.set()
        for thread in threads:
            thread.result()
    assert sorted(answered) == list(range(total))
