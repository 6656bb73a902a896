"""Servers that are down, killed or frozen, and all the others, which go on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from channel_layer.exceptions import LayerUnavailable
from channel_layer.outcome import Fate, fates
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis import outage as module
from channel_layer.redis.outage import Outage

from .conftest import MakeRedisLayer, OwnRedis, Several, in_loop

Eventually = Callable[..., Any]


class Server:
    """What is probed."""

    def __init__(self) -> None:
        self.error: Exception | None = redis.ConnectionError("refused")
        self.probes = 0

    def probe(self) -> None:
        self.probes += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def outage(server: Server) -> Iterator[Outage]:
    outage = Outage("redis://x", server.probe, matters=True)
    yield outage
    outage.close()


def test_a_layer_with_others_beside_it_makes_them_wait_once_and_not_again(
    own_redis: OwnRedis, make_redis_layer: MakeRedisLayer, eventually: Eventually
) -> None:
    layer = make_redis_layer(own_redis.url, connection_kwargs={"socket_timeout": 0.2})
    layer.beside_others()
    layer.send("x", {})
    own_redis.freeze()
    with pytest.raises(LayerUnavailable):
        layer.send("x", {})
    with pytest.raises(LayerUnavailable, match="left out until it answers"):
        layer.send("x", {})
    own_redis.thaw()

    def sent() -> bool:
        try:
            layer.send("x", {})
        except LayerUnavailable:
            return False
        return True

    eventually(sent, "the server is back")


def test_a_server_that_is_down_fails_at_once_until_a_probe_succeeds(
    server: Server, outage: Outage, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    outage.check()
    outage.note(redis.ConnectionError("refused"), uncertain=False)
    eventually(lambda: server.probes > 1, "the probes to go on")
    with pytest.raises(LayerUnavailable, match="left out until it answers") as caught:
        outage.check()
    assert not caught.value.uncertain
    server.error = None
    eventually(lambda: not outage.is_down, "the end of the outage")
    outage.check()
    assert caplog.text.count("is left out until it answers") == 1
    assert caplog.text.count("answers again") == 1


@pytest.mark.parametrize(
    ("error", "uncertain", "is_down"),
    [
        (redis.TimeoutError("no answer"), True, True),
        (TimeoutError(), True, True),
        (redis.ConnectionError("refused"), False, True),
        (redis.ConnectionError("Connection closed by server."), True, False),
        (redis.AuthenticationError("wrong"), False, False),
    ],
    ids=repr,
)
def test_silence_and_refused_connections_count_and_a_broken_one_does_not(
    outage: Outage, error: Exception, uncertain: bool, is_down: bool
) -> None:
    outage.note(error, uncertain)
    assert outage.is_down is is_down


def test_the_only_server_is_never_left_out(server: Server) -> None:
    alone = Outage("redis://x", server.probe, matters=False)
    alone.note(redis.ConnectionError("refused"), uncertain=False)
    alone.begin("no answer")
    alone.check()


def test_a_wrong_password_meanwhile_is_for_the_callers_to_learn(
    server: Server, outage: Outage, eventually: Eventually
) -> None:
    server.error = redis.AuthenticationError("wrong")
    outage.begin("no answer")
    eventually(lambda: not outage.is_down, "the end of the outage")


def test_a_server_that_nobody_asks_for_is_not_probed_for_ever(
    server: Server, outage: Outage, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNASKED_SECONDS", 0.0)
    outage.begin("no answer")
    eventually(lambda: not outage.is_down, "the end of the probing")
    assert server.probes == 0


def test_a_child_process_finds_out_by_itself(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    outage.begin("no answer")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    outage.check()
    assert not outage.is_down


# -- real servers ----------------------------------------------------------------------------------

QUICK = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
SPEED = 1.0
"""Seconds that anything takes at most while a server is down. Waiting for it would take as long with every call."""


@pytest.fixture(params=["frozen", "killed"])
def down(request: pytest.FixtureRequest, three_redis: list[OwnRedis]) -> Iterator[Callable[[], None]]:
    """Takes the last of three servers down."""
    last = three_redis[2]
    yield last.freeze if request.param == "frozen" else last.kill
    if last.process is not None:
        last.thaw()


@pytest.fixture
def make(three_redis: list[OwnRedis], make_redis_layer: MakeRedisLayer) -> Callable[[], RedisChannelLayer]:
    urls = [server.url for server in three_redis]
    # With such a presence each receive looks for processes that have gone, on all three.
    return lambda: make_redis_layer(*urls, connection_kwargs=QUICK, presence=3)


class Echo:
    """A worker that answers what comes on channels of all servers, in a thread of its own."""

    def __init__(self, layer: RedisChannelLayer, channels: list[str]) -> None:
        self._layer = layer
        self._channels = channels
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for delivery in self._layer.receive_batch(self._channels, timeout=0.5):
                self._layer.send(delivery.message["reply"], {"n": delivery.message["n"]})

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


def test_while_one_of_three_servers_is_down_the_others_go_on_at_full_speed(
    make: Callable[[], RedisChannelLayer], down: Callable[[], None], eventually: Eventually
) -> None:
    client, worker = make(), make()
    several = Several(client)
    channels = [several.name(shard) for shard in range(3)]
    replies = [several.name(shard, ".reply") for shard in (0, 1)]
    groups = [several.name(shard, ".group") for shard in range(3)]
    client.group_add(groups[1], replies[0])
    slowest: list[float] = []

    def echo(n: int) -> None:
        begun = time.monotonic()
        client.send(channels[n % 2], {"n": n, "reply": replies[n % 2]})
        _, message = client.receive([replies[n % 2]], block=True)
        assert message == {"n": n}
        slowest.append(time.monotonic() - begun)

    async def async_echo(n: int) -> None:
        begun = time.monotonic()
        await client.asend(channels[n % 2], {"n": n, "reply": replies[n % 2]})
        _, message = await client.areceive([replies[n % 2]])
        assert message == {"n": n}
        slowest.append(time.monotonic() - begun)

    with Echo(worker, channels):
        echo(0)
        down()
        with pytest.raises(LayerUnavailable):
            client.send(channels[2], {})

        def is_at_full_speed() -> bool:
            slowest.clear()
            until = time.monotonic() + 1.5  # long enough for all that is done every now and then
            n = 0
            while time.monotonic() < until:
                n += 1
                echo(n)
                in_loop(client, async_echo(n + 1))
                begun = time.monotonic()
                with pytest.raises(LayerUnavailable):
                    client.send_group(groups[2], {"n": n})
                client.send_group(groups[1], {"n": n})
                assert client.receive([replies[0]], block=True)[1] == {"n": n}
                slowest.append(time.monotonic() - begun)
            return max(slowest) < SPEED and n > 10

        # A machine that others use, too, may stand still meanwhile; who waits for the server does so each time.
        eventually(is_at_full_speed, "full speed")


@pytest.mark.parametrize("way", ["sync", "async", "exchange"])
def test_each_message_of_a_batch_has_its_own_fate(
    make: Callable[[], RedisChannelLayer], three_redis: list[OwnRedis], way: str, eventually: Eventually
) -> None:
    layer = make()
    several = Several(layer)
    channels = [several.name(shard) for shard in range(3)]
    three_redis[2].kill()
    batch = [layer.prepare(name, {"n": n}) for n in range(2) for name in channels]
    batch += [layer.prepare(several.name(shard, ".group"), {}, group=True) for shard in range(3)]
    told: list[LayerUnavailable] = []
    if way == "exchange":
        layer.begin_exchange(batch, channels[:1]).finish(lambda refused, error: told.append(error))
    else:
        with pytest.raises(LayerUnavailable) as caught:
            layer.send_batch(batch) if way == "sync" else in_loop(layer, layer.asend_batch(batch))
        told.append(caught.value)
    [error] = told
    assert error.reachable
    assert fates(batch, (), error) == [Fate.STORED, Fate.STORED, Fate.UNSENT] * 3
    assert layer.counters.possible_losses == 0
    three_redis[2].start()
    again = [item for item, fate in zip(batch, fates(batch, (), error), strict=True) if fate is Fate.UNSENT]
    eventually(lambda: stored(layer, again), "the rest to be stored")
    found = [layer.receive_batch([name], limit=10) for name in channels[way == "exchange" :]]
    assert [[delivery.message["n"] for delivery in deliveries] for deliveries in found] == [[0, 1]] * len(found)


def stored(layer: RedisChannelLayer, items: list[Any]) -> bool:
    try:
        return layer.send_batch(items) == []
    except LayerUnavailable as error:
        if error.uncertain:
            raise
        return False


def test_a_server_that_is_back_is_used_again_by_threads_and_loops(
    make: Callable[[], RedisChannelLayer], three_redis: list[OwnRedis], down: Callable[[], None], eventually: Eventually
) -> None:
    layer = make()
    several = Several(layer)
    channels = [several.name(shard) for shard in range(3)]
    down()
    with pytest.raises(LayerUnavailable):
        layer.send(channels[2], {})

    def is_left_out_at_once() -> bool:
        begun = time.monotonic()
        with pytest.raises(LayerUnavailable, match="left out"):
            in_loop(layer, layer.asend(channels[2], {}))
        assert layer.receive_batch(channels, timeout=0.1) == []
        assert in_loop(layer, layer.areceive_batch(channels)) == []
        return time.monotonic() - begun < SPEED

    eventually(is_left_out_at_once, "an attempt on which the machine does not stand still")
    if three_redis[2].process is None:
        three_redis[2].start()
    else:
        three_redis[2].thaw()
    eventually(lambda: stored(layer, [layer.prepare(channels[2], {"n": 1})]), "it to store again")
    assert eventually(lambda: layer.receive(channels, block=True)[0], "a message") == channels[2]
    layer.send(channels[2], {"n": 2})
    assert in_loop(layer, layer.areceive(channels)) == (channels[2], {"n": 2})


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_all_servers_are_written_to_before_one_that_is_slow_has_answered(
    three_redis: list[OwnRedis], make_redis_layer: MakeRedisLayer, is_async: bool
) -> None:
    urls = [server.url for server in three_redis]
    layer, reader = make_redis_layer(*urls), make_redis_layer(*urls)
    several = Several(layer)
    slow, *others = [several.name(shard) for shard in (2, 0, 1)]
    connected, frozen = threading.Event(), threading.Event()

    async def asend() -> list[Any]:
        await layer.asend_batch(batch(0))
        connected.set()
        frozen.wait(20)
        return await layer.asend_batch(batch(1))

    def batch(n: int) -> list[Any]:
        return [layer.prepare(name, {"n": n}) for name in (slow, *others)]

    def send() -> list[Any]:
        if is_async:
            return in_loop(layer, asend())
        layer.send_batch(batch(0))
        connected.set()
        frozen.wait(20)
        return layer.send_batch(batch(1))

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        assert connected.wait(20)
        three_redis[2].freeze()
        frozen.set()
        try:
            for name in others:
                assert [reader.receive([name], block=True)[1] for _ in range(2)] == [{"n": 0}, {"n": 1}]
            assert not sending.done()
        finally:
            three_redis[2].thaw()
        assert sending.result(20) == []
    assert len(reader.receive_batch([slow], limit=9)) == 2
