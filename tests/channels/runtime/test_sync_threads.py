"""`channels.runtime.sync_threads`: threads for ``async def`` consumers, with a real worker and a real database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection

from channel_layer.channel import Channel
from channels.auth import channel_session_user
from channels.generic.websockets import WebsocketConsumer
from channels.runtime.hooks import DjangoHook
from channels.runtime.sync_threads import SyncThreads
from channels.sessions import channel_session, enforce_ordering
from channels.signals import consumer_finished
from routing import Router, route, route_class
from tests.workers import tools
from workers import Worker


@contextmanager
def working(layer: Any, *routes: Any, threads: int = 2) -> Iterator[Worker]:
    router, side = Router(list(routes)), SyncThreads(threads)
    with tools.working(layer, router, threads=2, hooks=[DjangoHook()], sync_side=side) as worker:
        yield worker


def replies(layer: Any, count: int, channel: str = "out") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        found += [one.message for one in layer.receive_batch([channel], limit=100, timeout=1)]
    assert len(found) == count
    return found


def name() -> str:
    return threading.current_thread().name


def test_one_consumer_stays_in_one_thread_and_several_share_several(layer: Any) -> None:
    meeting = threading.Barrier(2)

    async def consumer(message: Any) -> None:
        first = await sync_to_async(lambda: (meeting.wait(20), name())[1])()
        message.reply_channel.send({"names": [first, *[await sync_to_async(name)() for _ in range(3)]]})

    with working(layer, route("a", consumer)):
        for _ in range(2):
            layer.send("a", {"reply_channel": "out"})
        one, other = (set(reply["names"]) for reply in replies(layer, 2))
    assert len(one) == len(other) == 1
    assert one != other


def test_slow_sync_code_of_one_holds_up_no_other(layer: Any) -> None:
    release = threading.Event()

    async def slow(message: Any) -> None:
        await sync_to_async(release.wait)(30)

    async def quick(message: Any) -> None:
        message.reply_channel.send({"thread": await sync_to_async(name)()})

    try:
        with working(layer, route("slow", slow), route("quick", quick)):
            layer.send("slow", {})
            for _ in range(5):
                layer.send("quick", {"reply_channel": "out"})
                replies(layer, 1)
            release.set()
    finally:
        release.set()


def test_queries_are_awaited_and_connections_are_kept_and_closed(layer: Any, database: None) -> None:
    opened: list[Any] = []

    async def consumer(message: Any) -> None:
        user, _ = await User.objects.aget_or_create(username="ada")
        opened.append(await sync_to_async(lambda: connection.connection)())
        if message["n"] == 1:
            await sync_to_async(_break)()
        message.reply_channel.send({"name": user.username})

    def _break() -> None:
        connection.errors_occurred = True
        connection.is_usable = lambda: False  # type: ignore[method-assign]

    connection.settings_dict["CONN_MAX_AGE"] = None
    try:
        with working(layer, route("a", consumer), threads=1):
            for n in range(4):
                layer.send("a", {"n": n, "reply_channel": "out"})
                assert replies(layer, 1) == [{"name": "ada"}]
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = 0
    # Kept from one message to the next, but for the one that broke.
    assert opened[0] is opened[1]
    assert opened[2] is opened[3]
    assert opened[1] is not opened[2]
    with pytest.raises(Exception, match="closed database"):
        opened[3].execute("select 1")


def test_the_signal_at_the_end_is_sent_where_the_queries_were_made(layer: Any, eventually: Any) -> None:
    seen: list[str] = []

    def receiver(**kwargs: Any) -> None:
        seen.append(name())

    async def consumer(message: Any) -> None:
        seen.append(await sync_to_async(name)())

    consumer_finished.connect(receiver)
    try:
        with working(layer, route("a", consumer)):
            layer.send("a", {})
            eventually(lambda: len(seen) == 2, "both")
    finally:
        consumer_finished.disconnect(receiver)
    assert seen[0] == seen[1]
    assert seen[0].startswith("worker-async-sync-")


def test_locals_are_each_messages_own_and_seen_in_its_thread(layer: Any) -> None:
    local = Local()

    async def consumer(message: Any) -> None:
        before = getattr(local, "n", None)
        local.n = message["n"]
        await asyncio.sleep(0.001)
        message.reply_channel.send({"before": before, "seen": [local.n, await sync_to_async(lambda: local.n)()],
                                    "n": message["n"]})  # fmt: skip

    with working(layer, route("a", consumer), threads=1):
        for n in range(20):
            layer.send("a", {"n": n, "reply_channel": "out"})
        for reply in replies(layer, 20):
            assert reply == {"before": None, "seen": [reply["n"]] * 2, "n": reply["n"]}


def test_decorators_work_around_it(layer: Any, database: None) -> None:
    @enforce_ordering
    @channel_session_user
    async def consumer(message: Any) -> None:
        session = message.channel_session
        session["count"] = session.get("count", 0) + 1
        await asyncio.sleep(0)
        user = "anonymous" if isinstance(message.user._wrapped, AnonymousUser) else "somebody"
        message.reply_channel.send({"count": session["count"], "user": user})

    with working(layer, route("websocket.receive", consumer)):
        for order in range(3):
            layer.send("websocket.receive", {"reply_channel": "out", "order": order})
            assert replies(layer, 1) == [{"count": order + 1, "user": "anonymous"}]


def test_async_methods_of_classes_work(layer: Any, database: None) -> None:
    class Echo(WebsocketConsumer):
        channel_session = True

        async def receive(self, text: str | None = None, bytes: Any = None, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            self.message.channel_session["said"] = text
            self.send(text=f"{text} on {name()}")

    with working(layer, route_class(Echo)):
        layer.send("websocket.receive", {"reply_channel": "out", "path": "/", "order": 1, "text": "hello"})
        assert replies(layer, 1) == [{"text": "hello on worker-async"}]


def test_sync_code_may_send_and_what_it_sends_is_held_back(layer: Any) -> None:
    @channel_session
    async def consumer(message: Any) -> None:
        await sync_to_async(Channel("out").send)({"n": 1})
        assert layer.receive(["out"]) == (None, None)

    with working(layer, route("a", consumer)):
        layer.send("a", {"reply_channel": "reply"})
        assert replies(layer, 1) == [{"n": 1}]


def test_errors_of_sync_code_come_back(layer: Any) -> None:
    async def consumer(message: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            await sync_to_async(lambda: 1 / 0)()
        message.reply_channel.send({})

    with working(layer, route("a", consumer)):
        layer.send("a", {"reply_channel": "out"})
        replies(layer, 1)


def test_old_connections_that_cannot_be_closed_do_not_stop_the_thread(
    layer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise OSError("broken")

    monkeypatch.setattr("channels.runtime.sync_threads.close_old_connections", broken)

    async def consumer(message: Any) -> None:
        message.reply_channel.send({"n": await sync_to_async(lambda: 5)()})

    with working(layer, route("a", consumer), threads=1):
        layer.send("a", {"reply_channel": "out"})
        assert replies(layer, 1) == [{"n": 5}]
    assert "old database connections could not be closed" in caplog.text


@pytest.mark.parametrize("error", [LookupError("of mine"), StopIteration(3), SystemExit(2)], ids=repr)
def test_an_error_of_sync_code_comes_to_the_one_who_waits(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def scene() -> None:
        side = SyncThreads(1)
        side.enter()
        with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
            await side.run(fail)
        side.leave()
        side.close()

    asyncio.run(scene())


def test_a_call_that_was_cancelled_before_it_began_is_not_run() -> None:
    release, begun = threading.Event(), []

    async def scene() -> None:
        side = SyncThreads(1)
        side.enter()
        first = asyncio.ensure_future(sync_to_async(release.wait)(20))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(sync_to_async(begun.append)(1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        await first
        assert await sync_to_async(lambda: list(begun))() == []
        side.leave()
        side.close()

    asyncio.run(scene())
