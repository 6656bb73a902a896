"""What is left with the layer for each WebSocket, and what happens when others have used it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from channel_layer.codec import unpack_body
from channel_layer.delivery import LAST_ORDER, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import RESUME
from channel_layer.redis import RedisChannelLayer
from interface_server.bridge import last_wills as module
from interface_server.bridge.last_wills import LastWills
from interface_server.gateway import Gateway
from interface_server.options import Options
from interface_server.stopping import Stopping
from interface_server.websocket.connection import Phase, WebSocketConnection
from interface_server.websocket.lease import BEQUEST_BYTES, BEQUEST_TICKS
from tests.channel_layer.redis.conftest import CuttingProxy
from tests.conftest import wait_until
from tests.interface_server.fakes import FakeSocket, QuietContext, scope
from tests.interface_server.helpers import Workers, become

WORKER = "worker.a!1"
CONNECT, DISCONNECT = "websocket.connect", "websocket.disconnect"


class KeepingLayer(MemoryChannelLayer):
    """Says that it reaches other processes."""

    local_only = False


class Case:
    """A context with a layer that keeps last wills, and its connections."""

    def __init__(self, layer: Any = None, **options: Any) -> None:
        self.layer = layer or KeepingLayer()
        self.context = QuietContext(**options)
        self.last_wills = LastWills(
            self.layer,
            self.context.name,
            self.context.connections,
            self.context.records,  # type: ignore[arg-type]
            not self.context.options.unordered,
        )
        self.context.last_wills = self.last_wills
        self.sockets: list[FakeSocket] = []

    def open(self, accept: bool = True) -> WebSocketConnection:
        self.sockets.append(FakeSocket())
        connection = WebSocketConnection(self.context, scope("websocket", path="/p"), self.sockets[-1])
        connection.open()
        if accept:
            connection.deliver({"accept": True}, {"turn": 1})
        return connection

    @property
    def items(self) -> list[Outgoing]:
        return [entry.item for entry in self.context.records.entries]

    def again(self) -> list[str]:
        """Channels whose last wills were left without a message."""
        return [item.last_will.channel for item in self.items if item.last_will is not None and not item.body]


def local(connection: WebSocketConnection) -> str:
    return connection.channel.partition("!")[2]


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(run())


@pytest.mark.parametrize(("unordered", "headers"), [(False, {"turn": LAST_ORDER}), (True, None)])
def test_a_connect_leaves_the_disconnect_of_a_lost_connection(unordered: bool, headers: Any) -> None:
    case = Case(unordered=unordered)
    connection = case.open(accept=False)
    [item] = case.items
    assert item.target == CONNECT
    assert item.last_will is not None
    assert item.last_will.channel == connection.channel
    message = item.last_will.message
    assert message is not None
    assert (message.target, message.headers) == (DISCONNECT, headers)
    assert case.layer.send_batch([message]) == []
    [delivery] = case.layer.receive_batch([DISCONNECT])
    expected = {"reply_channel": connection.channel, "code": 1006, "path": "/p", "order": LAST_ORDER}
    assert delivery.message == expected


def test_the_real_disconnect_withdraws_it() -> None:
    case = Case()
    connection = case.open()
    connection.lost(1001)
    item = case.items[-1]
    assert item.target == DISCONNECT
    assert item.last_will is not None
    assert (item.last_will.channel, item.last_will.message) == (connection.channel, None)


class Foreign(KeepingLayer):
    extensions = ("groups",)


@pytest.mark.parametrize("layer", [MemoryChannelLayer(), Foreign()], ids=["one process", "without the extension"])
def test_where_nobody_could_carry_it_out_nothing_is_left(layer: Any) -> None:
    case = Case(layer)
    case.open().lost(1001)
    assert [item.last_will for item in case.items] == [None, None]

    async def test() -> None:
        case.last_wills.watch()

    in_loop(test)


def test_connections_whose_end_was_reported_are_closed_and_the_others_leave_their_last_wills_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = Case()
    reported, shaking, kept = case.open(), case.open(accept=False), case.open()

    async def test() -> None:
        case.last_wills.watch()
        case.layer._tell_of_last_wills(case.context.name, {local(reported), local(shaking), "one that ended long ago"})
        await become(case.again)

    with caplog.at_level(logging.ERROR):
        in_loop(test)
    assert "closing 2 WebSockets" in caplog.text
    assert case.sockets[0].calls[-1] == ("close", 1012)
    assert case.sockets[1].calls[-1] == ("reject", 503)
    assert kept.phase is Phase.OPEN
    assert case.again() == [kept.channel]


def test_frames_that_were_not_sent_yet_are_not_sent_for_a_connection_whose_end_was_reported() -> None:
    case = Case()
    connection = case.open()
    connection.received("one")
    connection.received("two")
    in_loop(lambda: learn(case, {local(connection)}))
    entry = case.context.records.entries[1]
    assert (entry.item.target, entry.cancelled) == ("websocket.receive", True)
    connection.deliver({}, {"turn": 2})
    assert [item.target for item in case.items[2:]] == [DISCONNECT], "which the layer drops"


async def learn(case: Case, carried_out: set[str]) -> None:
    case.last_wills.learn(carried_out)


def test_many_last_wills_are_left_again_in_portions_and_only_for_those_who_are_still_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 3600)
    case = Case()
    connections = [case.open() for _ in range(10)]

    async def test() -> None:
        case.last_wills.learn(())
        await become(lambda: len(case.again()) == 3)
        connections[9].lost(1006)
        connections[9].deliver({}, {"turn": 2})
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
        case.last_wills._leave_some()
        await become(lambda: len(case.again()) == 9)

    in_loop(test)
    assert case.again() == [connection.channel for connection in connections[:9]]


def test_a_last_will_waits_for_the_end_of_the_handshake_and_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    case = Case()
    shaking, other = case.open(accept=False), case.open()

    async def test() -> None:
        case.context.records.accepts = False
        case.last_wills.learn(())
        await asyncio.sleep(0.01)
        case.context.records.accepts = True
        await become(case.again)
        shaking.deliver({"accept": True}, {"turn": 1})
        await become(lambda: len(case.again()) == 2)

    in_loop(test)
    assert case.again() == [other.channel, shaking.channel]


def test_one_that_may_not_have_been_left_is_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    case = Case()
    connection = case.open()

    async def test() -> None:
        case.last_wills.learn(())
        await become(case.again)
        entry = case.context.records.entries[-1]
        assert entry.patient
        assert entry.sender is not None
        entry.sender.refused(entry.item, LayerUnavailable("here", "cut"))
        await become(lambda: len(case.again()) == 2)

    in_loop(test)
    assert case.again() == [connection.channel] * 2


def let_go(case: Case, checkpoint: bytes = b"all") -> WebSocketConnection:
    """A connection whose application was let go by the worker that had it."""
    connection = case.open(accept=False)
    connection.deliver({}, {"epoch": 0, "lease": WORKER})
    connection.deliver({"accept": True}, {"epoch": 0, "turn": 1, "checkpoint": checkpoint})
    connection.deliver({}, {"epoch": 0, "turn": 1, "lease": None})
    return connection


def left(case: Case) -> list[Any]:
    """The last wills so far, without what all have."""
    wills = [item.last_will.message for item in case.items if item.last_will is not None and item.last_will.message]
    common = ("reply_channel", "code", "path", "order")
    return [{key: value for key, value in unpack_body(will.body).items() if key not in common} for will in wills]


async def tick(case: Case, connection: WebSocketConnection) -> None:
    for _ in range(BEQUEST_TICKS + 2):
        connection.tick(case.context.now)
    await become(lambda: not case.last_wills._again and case.last_wills._timer is None)


def test_an_application_without_an_instance_bequeaths_what_makes_it_again_once_it_is_quiet_for_a_while() -> None:
    case = Case()
    connection = let_go(case)

    async def test() -> None:
        connection.tick(case.context.now)
        assert left(case) == [{}]
        await tick(case, connection)
        await tick(case, connection)
        [_, bequest] = left(case)
        assert unpack_body(bequest.pop("opening"))["path"] == "/p"
        assert bequest == {"checkpoint": b"all", "turn": 1, "epoch": 1, "root_path": ""}
        connection.received("a frame")  # it is made again, and hears of the end itself from then on
        [resume] = [item for item in case.items if item.target == RESUME]
        assert left(case)[2:] == [{}]
        assert resume.last_will is not None
        connection.deliver({}, {"epoch": 1, "lease": WORKER})
        connection.received("another")
        await tick(case, connection)
        connection.deliver({}, {"epoch": 1, "turn": 3, "lease": None})
        assert len(left(case)) == 3
        await tick(case, connection)
        assert left(case)[3]["epoch"] == 2

    in_loop(test)


def test_a_large_checkpoint_is_not_kept_by_the_broker_for_each_quiet_connection() -> None:
    case = Case()
    connection = let_go(case, b"x" * (BEQUEST_BYTES + 1))
    in_loop(lambda: tick(case, connection))
    assert left(case) == [{}, {}]


@pytest.mark.parametrize("is_bequeathed", [True, False])
def test_an_application_that_was_made_to_be_told_of_the_end_is_not_told_again(is_bequeathed: bool) -> None:
    case = Case()
    connection = let_go(case)

    async def test() -> None:
        if is_bequeathed:
            await tick(case, connection)
        case.last_wills.learn({local(connection)})

    in_loop(test)
    assert case.sockets[0].calls[-1] == ("close", 1012)
    assert sum(item.target == RESUME for item in case.items) == (not is_bequeathed)
    assert (connection.channel in [case.context.name + name for name in case.context.connections]) is not is_bequeathed


def test_news_after_the_end_of_the_event_loop_harm_nobody() -> None:
    case = Case()

    async def test() -> None:
        case.last_wills.watch()

    in_loop(test)
    case.layer._tell_of_last_wills(case.context.name, {"x"})


def test_a_disconnect_of_unknown_fate_is_sent_again_to_come_once() -> None:
    case = Case()
    connection = case.open()
    connection.lost(1001)
    item = case.items[-1]
    case.last_wills.resolve(item)
    entry = case.context.records.entries[-1]
    assert entry.item is item
    assert entry.patient
    assert item.last_will is not None
    assert (item.last_will.channel, item.last_will.message, item.last_will.claims) == (connection.channel, None, True)


def test_a_connect_of_unknown_fate_is_followed_by_a_disconnect_if_it_was_stored() -> None:
    case = Case()
    connection = case.open(accept=False)
    [item] = case.items
    case.last_wills.resolve(item)
    connection.refused(item, LayerUnavailable("here", "cut"))
    assert case.sockets[0].calls == [("reject", 503)]
    [_, claiming] = case.items
    assert claiming.target == DISCONNECT
    assert claiming.last_will is not None
    assert claiming.last_will.claims
    assert case.layer.send_batch([claiming]) == []
    assert case.layer.receive_batch([DISCONNECT]) == []
    assert case.layer.send_batch([item, claiming, claiming]) == []
    [delivery] = case.layer.receive_batch([DISCONNECT], limit=10)
    assert (delivery.message["reply_channel"], delivery.message["code"]) == (connection.channel, 1006)


def test_a_connect_of_unknown_fate_whose_connection_ends_by_itself_is_left_to_it() -> None:
    case = Case()
    case.open()
    case.last_wills.resolve(case.items[0])
    assert len(case.items) == 1


def test_where_there_is_no_room_for_it_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.open().lost(1001)
    case.context.records.accepts = False
    case.last_wills.resolve(case.items[-1])
    assert "may be lost" in caplog.text


def seen(workers: Workers, channel: str) -> Counter[str]:
    return Counter(item.message["reply_channel"] for item in workers.on(channel))


def test_however_often_connections_to_redis_are_cut_each_connect_is_followed_by_one_disconnect(redis_url: str) -> None:
    proxy = CuttingProxy(int(redis_url.rpartition(":")[2].partition("/")[0]), every=10)
    prefix = f"test-{uuid.uuid4().hex}:"
    near = RedisChannelLayer(hosts=[redis_url], prefix=prefix)
    far = RedisChannelLayer(hosts=[proxy.url], prefix=prefix)
    workers = Workers(near)

    async def test() -> None:
        gateway = Gateway(far, Options())
        gateway.start()
        for _ in range(60):
            for _ in range(10):
                WebSocketConnection(gateway.context, scope("websocket", scheme="ws"), FakeSocket()).open()
            await asyncio.sleep(0.02)
            for connection in list(gateway.context.connections.values())[::2]:
                assert isinstance(connection, WebSocketConnection)
                connection.lost(1006)
        await Stopping(gateway.context, 60).run()
        await gateway.close()

    try:
        asyncio.run(test())
        wait_until(lambda: seen(workers, CONNECT) == seen(workers, DISCONNECT), "an end for each beginning")
        assert proxy.cuts
        assert len(seen(workers, CONNECT)) > 50
        assert set(seen(workers, DISCONNECT).values()) == {1}
    finally:
        workers.stop()
        proxy.close()
        near.flush()
        near.close()
