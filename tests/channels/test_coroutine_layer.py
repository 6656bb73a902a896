"""`channels.coroutine_layer`: the coroutines of Channels 4 on every layer."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync

from channel_layer.exceptions import ChannelFull, MessageTooLarge
from channel_layer.layer import ChannelLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.redis import RedisChannelLayer
from channel_layer.redis.async_driver import BRIEF_THREADS
from channel_layer.sqlite import SqliteChannelLayer
from channels.coroutine_layer import CoroutineChannelLayer, InMemoryChannelLayer, capacities
from tests.conftest import wait_until


@pytest.fixture(params=["memory", "sqlite", "redis"])
def below(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChannelLayer]:
    options: dict[str, Any] = {"capacity": 3, "channel_capacity": capacities({"small": 1})}
    layer: ChannelLayer
    if request.param == "memory":
        layer = MemoryChannelLayer(**options)
    elif request.param == "sqlite":
        layer = SqliteChannelLayer(tmp_path / "layer.sqlite3", **options)
    else:
        layer = RedisChannelLayer(hosts=[request.getfixturevalue("redis_url")], prefix=f"{uuid4()}:", **options)
    yield layer
    layer.close()


@pytest.fixture
def layer(below: ChannelLayer) -> CoroutineChannelLayer:
    return CoroutineChannelLayer(below, channel_capacity={"small": 1})


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


def test_messages_of_a_shared_channel_come_in_order(layer: CoroutineChannelLayer) -> None:
    async def scenario() -> None:
        sent = {"type": "m", "list": [1, (2, 3)], "bytes": b"\0"}
        for n in range(3):
            await layer.send("a", sent | {"n": n})
        sent["list"] = None
        for n in range(3):
            assert await layer.receive("a") == {"type": "m", "list": [1, [2, 3]], "bytes": b"\0", "n": n}

    run(scenario())


def test_a_full_channel(layer: CoroutineChannelLayer) -> None:
    async def scenario() -> None:
        await layer.send("small", {})
        with pytest.raises(ChannelFull):
            await layer.send("small", {})
        await layer.group_add("g", "small")
        await layer.group_send("g", {"dropped": True})
        assert await layer.receive("small") == {}

    run(scenario())


@pytest.mark.parametrize("bad", [{"at": datetime(2026, 1, 1)}, {"set": {1}}, {1: 2}, "text"])
def test_what_cannot_be_carried_is_refused(layer: CoroutineChannelLayer, bad: Any) -> None:
    with pytest.raises(TypeError):
        run(layer.send("a", bad))
    with pytest.raises(TypeError):
        run(layer.group_send("g", bad))
    with pytest.raises(MessageTooLarge):
        run(layer.send("a", {"text": "x" * 2_000_000}))


def test_names_are_checked(layer: CoroutineChannelLayer) -> None:
    calls = [layer.send("=+1!", {}), layer.receive("=+1!"), layer.group_send("a!b", {})]
    for change in (layer.group_add, layer.group_discard):
        calls += [change("g", "ä"), change("a!b", "a")]
    for call in calls:
        with pytest.raises(TypeError):
            run(call)


def test_each_member_of_a_group_gets_a_message_of_its_own(layer: CoroutineChannelLayer) -> None:
    async def scenario() -> None:
        names = [await layer.new_channel() for _ in range(3)] + [await layer.new_channel("other")]
        for name in names:
            layer.require_valid_channel_name(name)
            await layer.group_add("g", name)
        await layer.group_discard("g", names[1])
        await layer.group_send("g", {"type": "m", "list": []})
        first = await layer.receive(names[0])
        first["list"].append("changed")
        assert await layer.receive(names[2]) == await layer.receive(names[3]) == {"type": "m", "list": []}
        await layer.send(names[1], {"type": "only"})
        assert await layer.receive(names[1]) == {"type": "only"}

    run(scenario())


def test_sync_code_names_a_channel_and_receives_from_it_later(layer: CoroutineChannelLayer) -> None:
    # Each call has an event loop of its own, and a message that one of them took must not end with it.
    first, second = async_to_sync(layer.new_channel)(), async_to_sync(layer.new_channel)()
    async_to_sync(layer.send)(first, {"n": 1})
    async_to_sync(layer.send)(second, {"n": 2})
    async_to_sync(layer.send)(first, {"n": 3})
    assert async_to_sync(layer.receive)(second) == {"n": 2}
    assert [async_to_sync(layer.receive)(first) for _ in range(2)] == [{"n": 1}, {"n": 3}]


def test_calls_from_loops_that_end_leave_nothing_open(layer: CoroutineChannelLayer) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def use() -> None:
        async_to_sync(layer.group_send)("g", {"type": "m"})
        name = async_to_sync(layer.new_channel)()
        async_to_sync(layer.send)(name, {})
        async_to_sync(layer.receive)(name)

    use()
    # Threads that loops borrow, with a connection each, are started when no other is idle, and stay.
    most_descriptors, most_threads = descriptors() + BRIEF_THREADS, threading.active_count() + BRIEF_THREADS
    for _ in range(BRIEF_THREADS):  # four loops each time
        use()
    # asgiref runs each loop in a thread, which takes a moment to end.
    wait_until(lambda: descriptors() <= most_descriptors and threading.active_count() <= most_threads)


def test_two_loops_receive_at_the_same_time(layer: CoroutineChannelLayer) -> None:
    layer.capacity = 100
    names = [async_to_sync(layer.new_channel)() for _ in range(2)]
    got: dict[str, list[Any]] = {name: [] for name in names}

    def listen(name: str, count: int) -> None:
        async def receive() -> None:
            for _ in range(count):
                got[name].append((await layer.receive(name))["n"])

        run(receive())

    # The first ends long before the second, whichever of their loops does the receiving.
    threads = [threading.Thread(target=listen, args=arguments) for arguments in zip(names, (2, 20), strict=True)]
    for thread in threads:
        thread.start()

    async def send() -> None:
        for n in range(20):
            for name in names[n >= 2 :]:
                await layer.send(name, {"n": n})

    run(send())
    for thread in threads:
        thread.join(30)
    assert got == {names[0]: [0, 1], names[1]: list(range(20))}


def test_a_flush_takes_what_waits_in_this_process_too(layer: CoroutineChannelLayer) -> None:
    async def scenario() -> None:
        one, other = await layer.new_channel(), await layer.new_channel()
        await layer.send(other, {"n": 1})
        await layer.send(one, {"n": 2})
        assert await layer.receive(one) == {"n": 2}
        await layer.flush()
        await layer.send(other, {"n": 3})
        assert await layer.receive(other) == {"n": 3}
        await layer.close_pools()

    run(scenario())


def test_the_attributes_of_channels_4(layer: CoroutineChannelLayer) -> None:
    assert layer.extensions == ["groups", "flush"]
    assert (layer.expiry, layer.group_expiry, layer.capacity) == (60, 86_400, 3)
    assert [layer.get_capacity(name) for name in ("small", "a")] == [1, 3]
    assert "Coroutine" in repr(layer)


def test_channels_that_connections_share_keep_their_room() -> None:
    below = InMemoryChannelLayer(capacity=2, channel_capacity={"a": 1}).channel_layer
    own = asyncio.run(InMemoryChannelLayer().new_channel()).partition("!")[0] + "!"
    rooms = [below.capacity.of_reader(name) for name in ("b", "a", "daphne.x!", own, "websocket.receive")]
    assert rooms == [2, 1, 10_000, 10_000, 10_000]
    assert below.capacity.of_reader("http.request.body?x") == 16


def test_some_layers_receive_for_other_processes_and_some_do_not() -> None:
    class Strict(InMemoryChannelLayer):
        receives_for_others = False

    async def scenario(layer: InMemoryChannelLayer) -> Any:
        await layer.send("test.x!local", {"n": 1})
        return await layer.receive("test.x!local")

    assert run(scenario(InMemoryChannelLayer())) == {"n": 1}
    with pytest.raises(AssertionError, match=r"'test.x!local' is a channel of another process"):
        run(scenario(Strict()))


def test_a_memory_layer_shows_who_waits() -> None:
    async def scenario() -> None:
        layer = InMemoryChannelLayer()
        name = await layer.new_channel()
        assert layer.channels == {}
        receiving = asyncio.ensure_future(layer.receive(name))
        await asyncio.sleep(0)
        assert layer.channels == {name: 0}
        await layer.send(name, {"n": 1})
        await receiving
        assert layer.channels == {}

    run(scenario())


def test_a_memory_layer_shows_what_waits_and_who_is_where() -> None:
    async def scenario() -> None:
        layer = InMemoryChannelLayer(expiry=0.05)
        await layer.group_add("g", "a")
        await layer.send("a", {})
        assert (layer.channels, layer.groups) == ({"a": 1}, {"g": ["a"]})
        await asyncio.sleep(0.06)
        assert layer.channels == {}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive("a"), 0.01)

    run(scenario())


def test_a_forked_process_takes_names_of_its_own() -> None:
    layer = InMemoryChannelLayer()
    before = asyncio.run(layer.new_channel()).partition("!")[0]
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, asyncio.run(layer.new_channel()).partition("!")[0].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() not in ("", before)
    os.close(reading)
    os.close(writing)
