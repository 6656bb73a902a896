"""Instances of applications in a worker; the connections that they are for are those of `lease_simulator`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from channel_layer.codec import unpack_body
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import CONNECT, DISCONNECT
from channel_layer.names import split
from interface_server.websocket.connection import WebSocketConnection
from tests.conftest import wait_until
from tests.end_to_end.lease_simulator import App, Worker, World, end, name_of, settle
from workers import balance, instances
from workers.event_loop import EventLoop, _make_task
from workers.inbox import Inbox
from workers.instances import (
    BEAT_SECONDS,
    DOUBT_SECONDS,
    LEFT,
    STARTING_AT_A_TIME,
    UNSTEADY_SECONDS,
    Event,
    Hosted,
    Instances,
    NotCarried,
    Receive,
    Send,
)
from workers.lease_questions import ASK_SECONDS, UNANSWERED_SECONDS
from workers.sync_side import SyncSide

Scene = Callable[["Stage"], Coroutine[Any, Any, None]]


class Stage(World):
    """A world that goes on by itself, up to the handlers of applications."""

    connection: WebSocketConnection
    worker: Worker

    async def go_on(self) -> None:
        """Hand on all messages."""
        moved = True
        while moved:
            await settle()
            moved = bool(self.line.waiting or self.to_server or self.jobs)
            while self.line.waiting:
                self.store()
            while self.to_server:
                self.hear()
            for worker in self.workers:
                if worker.is_up:
                    while self.jobs and not worker.leaves and not worker.instances.holds_back:
                        worker.take(self.jobs.popleft())
                    worker.begin()
                    moved = moved or bool(worker.queue)
                    worker.read(99)
            await settle()

    async def finish(self) -> None:
        """Have all handlers end, one after the other."""
        await self.go_on()
        while self.running():
            self.running()[0].go_on()
            await self.go_on()

    async def let_go(self, worker: Worker) -> None:
        worker.leaves = True
        worker.instances.let_go()
        await self.go_on()

    @property
    def names(self) -> list[tuple[int, str]]:
        return self.told[self.connection.channel]

    @property
    def calls(self) -> list[Any]:
        return self.connection._socket.calls  # type: ignore[attr-defined]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(scene: Scene, stays: bool = False, accepted: bool = True) -> None:
        async def on_stage() -> None:
            asyncio.get_running_loop().set_task_factory(_make_task)
            stage = Stage(1, monkeypatch)
            stage.worker = stage.add_worker()
            stage.connection = stage.connect(stays)
            await stage.go_on()
            if accepted:
                await stage.finish()
            await scene(stage)
            await end()

        asyncio.run(on_stage())

    return run


def test_a_turn_ends_when_the_application_asks_for_the_next_event(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        stage.connection.received("one")
        stage.connection.received("two")
        await stage.go_on()
        assert stage.names == [(0, "connect"), (0, "one")]
        assert [event.turn for event in stage.connection._lease._events] == [2, 3]  # type: ignore[union-attr]
        stage.running()[0].go_on()
        await stage.go_on()
        assert stage.names[-1] == (0, "two")
        assert [event.turn for event in stage.connection._lease._events] == [3]  # type: ignore[union-attr]
        await stage.finish()
        assert [call for call in stage.calls if call[0] == "send"][-2:] == [("send", "one"), ("send", "two")]

    play(scene)


def test_let_go_while_at_work_it_ends_behind_that_event_and_the_rest_is_for_another(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("one", "two"):
            stage.connection.received(text)
        await stage.go_on()
        other = stage.add_worker()
        await stage.let_go(stage.worker)
        assert stage.names[-1] == (0, "one")
        await stage.finish()
        assert stage.names == [(0, "connect"), (0, "one"), (1, "two")]
        assert other.apps[0].seen == ["connect", "one", "two"]
        assert stage.worker.instances.is_idle

    play(scene)


def test_a_quiet_one_costs_nothing_when_it_is_let_go_and_is_made_again_by_its_next_event(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        other = stage.add_worker()
        await stage.let_go(stage.worker)
        assert stage.worker.instances.is_idle
        assert other.apps == []
        stage.connection.received("one")
        await stage.finish()
        assert stage.names == [(0, "connect"), (1, "one")]

    play(scene)


def test_one_that_has_not_begun_the_handshake_is_begun_elsewhere(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        stage.worker.leaves = True
        stage.worker.instances.let_go()
        second = stage.connect()
        stage.store()
        stage.worker.take(stage.jobs.popleft())
        stage.worker.begin()
        stage.add_worker()
        await stage.finish()
        assert stage.told[second.channel] == [(1, "connect")]
        assert ("accept", None) in second._socket.calls  # type: ignore[attr-defined]

    play(scene)


def test_one_that_has_heard_nothing_but_connect_and_cannot_be_carried_begins_again_behind_the_socket(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        stage.add_worker()
        await stage.let_go(stage.worker)
        await stage.finish()
        assert stage.names == [(0, "connect"), (0, "disconnect"), (1, "connect")]
        assert ("close", LEFT) not in stage.calls

    play(scene, stays=True)


def test_one_that_cannot_be_carried_stays_and_is_closed_when_the_grace_is_over(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        stage.connection.received("one")
        await stage.finish()
        await stage.let_go(stage.worker)
        assert not stage.worker.instances.is_idle
        stage.worker.instances._give_up()
        await stage.finish()
        assert stage.calls[-1] == ("close", LEFT)
        assert stage.names[-1] == (0, "disconnect")
        assert stage.worker.instances.is_idle
        assert f"is closed with {LEFT}: it holds something" in caplog.text

    play(scene, stays=True)


def test_one_at_work_when_the_grace_is_over_is_closed_and_ended_at_last(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        stage.connection.received("one")
        await stage.go_on()
        await stage.let_go(stage.worker)
        stage.worker.instances._give_up()
        await stage.go_on()
        assert stage.calls[-1] == ("close", LEFT)
        assert not stage.worker.instances.is_idle
        stage.worker.instances._give_up()
        await stage.go_on()
        assert stage.worker.instances.is_idle
        assert stage.names[-1] == (0, "one")
        assert "it is still at work" in caplog.text

    play(scene)


def test_those_that_have_been_quiet_for_long_are_let_go_and_no_others(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        stays = stage.connect(stays=True)
        await stage.finish()
        for _ in range(20):
            await stage.second()
        busy = stage.connect()
        await stage.finish()
        stage.worker.instances.let_go_of_quiet(10)
        await stage.go_on()
        leases = [connection._lease for connection in (stage.connection, stays, busy)]
        assert [lease is not None and lease.worker is not None for lease in leases] == [False, True, True]
        stage.connection.received("one")
        await stage.finish()
        assert stage.names == [(0, "connect"), (1, "one")]

    play(scene)


def test_those_that_are_given_away_are_made_again_at_once_and_only_quiet_ones_that_can_be(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        stays, busy = stage.connect(stays=True), stage.connect()
        await stage.finish()
        await stage.second()
        busy.received("one")
        fresh = stage.connect()
        await stage.go_on()
        other = stage.add_worker()
        stage.worker.leaves = True  # it takes nothing over
        stage.worker.instances.move_some(99)
        await stage.go_on()
        assert [app.reply_channel for app in other.apps] == [stage.connection.channel]
        stage.connection.received("two")
        await stage.finish()
        assert stage.names == [(0, "connect"), (1, "two")]
        for connection in (stays, busy, fresh):
            assert {epoch for epoch, _ in stage.told[connection.channel]} == {0}

    play(scene)


def test_a_worker_with_many_asks_and_gives_a_new_one_its_part(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "LEAST_INSTANCES", 3)
    monkeypatch.setattr(balance, "LEAST_EXCESS", 2)

    async def scene(stage: Stage) -> None:
        for _ in range(5):
            stage.connect()
        await stage.finish()
        second, full, stopping = stage.add_worker(), stage.add_worker(), stage.add_worker()
        full.instances._most = 0
        full.leaves = True
        await stage.let_go(stopping)
        for _ in range(20):
            await stage.second()
            for worker in stage.workers:
                worker.instances.level()
            await stage.go_on()
        assert [len(worker.instances._running) for worker in stage.workers] == [3, 3, 0, 0]
        assert len({app.reply_channel for app in second.apps}) == len(second.apps) == 3

    play(scene)


def test_a_worker_that_stops_is_waited_for_no_more(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "LEAST_INSTANCES", 1)
    monkeypatch.setattr(balance, "LEAST_EXCESS", 0.1)

    async def scene(stage: Stage) -> None:
        other = stage.add_worker()
        await stage.go_on()
        while not stage.worker.instances.holds_back:
            await stage.second()
            stage.worker.instances.level()
            await stage.go_on()
        await stage.let_go(other)
        assert not stage.worker.instances.holds_back
        assert stage.worker.instances._count == 1

    play(scene)


def test_a_worker_that_was_held_up_begins_nothing_before_the_server_has_answered(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("one", "two"):
            stage.connection.received(text)
        await stage.go_on()
        stage.now += DOUBT_SECONDS + 1  # nobody has taken it for gone
        stage.context.now = stage.now
        stage.running()[0].go_on()
        await settle()
        assert stage.names[-1] == (0, "one")
        assert "asking whether its connections are still its own" in caplog.text
        await stage.go_on()
        assert stage.names[-1] == (0, "two")

    play(scene)


def test_a_worker_asks_first_about_an_instance_whose_message_it_has_had_for_long(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        await stage.let_go(stage.worker)
        worker = stage.add_worker()
        stage.connection.received("one")
        await settle()
        while stage.line.waiting:
            stage.store()
        worker.take(stage.jobs.popleft())
        for _ in range(3):  # in the hands of its threads, while the process runs well
            stage.now += 1.0
            worker.instances.beat()
        worker.begin()
        await settle()
        assert (1, "one") not in stage.names
        await stage.go_on()
        assert stage.names[-1] == (1, "one")

    play(scene)


def test_a_worker_that_lost_its_leases_meanwhile_begins_nothing_any_more(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        for text in ("one", "two"):
            stage.connection.received(text)
        await stage.go_on()
        held_up = stage.worker
        [app] = held_up.apps
        held_up.is_held_up = True
        stage.add_worker()
        for _ in range(12):
            await stage.second()
        await stage.finish()
        assert stage.names == [(0, "connect"), (0, "one"), (2, "two")]
        held_up.go_on()
        app.go_on()
        await stage.finish()
        assert stage.names == [(0, "connect"), (0, "one"), (2, "two")]
        assert held_up.instances.is_idle

    play(scene)


def test_a_heartbeat_that_is_not_taken_proves_nothing(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        instances = stage.worker.instances
        instances.layer.send_batch = list  # type: ignore[assignment,method-assign]  # refuses all
        server = split(stage.connection.channel)[0]
        for _ in range(int(DOUBT_SECONDS)):
            assert instances.trusts(server)
            stage.now += 1
            instances.beat()
        stage.now += BEAT_SECONDS
        assert not instances.trusts(server)

    play(scene)


def test_a_worker_that_was_held_up_asks_about_new_leases_for_a_while(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        stage.now += DOUBT_SECONDS + 1
        stage.worker.instances.beat()
        await stage.go_on()
        for seconds, asks in ((1, True), (UNSTEADY_SECONDS, False)):
            for _ in range(int(seconds)):
                await stage.second()
            connection = stage.connect()
            stage.store()
            stage.worker.take(stage.jobs.popleft())
            stage.worker.begin()
            await settle()
            assert (stage.told[connection.channel] == []) is asks
            await stage.finish()
            assert stage.told[connection.channel] == [(0, "connect")]

    play(scene)


def test_the_end_of_a_server_is_told_once_and_needs_no_trust(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        [instance] = stage.worker.instances._running
        stage.now += 100
        for _ in range(3):
            instance.deliver({"closed": True}, None)
        await settle()
        assert stage.names[1:] == [(0, "disconnect")]
        stage.worker.apps[0].go_on()
        await settle()
        assert stage.worker.instances.is_idle

    play(scene)


@pytest.mark.parametrize("end", ["nothing", "its end waits", "its end is in hand"])
def test_an_application_that_is_given_up_hears_of_one_end(play: Callable[..., None], end: str) -> None:
    async def scene(stage: Stage) -> None:
        heard: list[Any] = []
        rests, ends = asyncio.Event(), asyncio.Event()

        async def body(receive: Receive, send: Send) -> None:
            heard.append((await receive())["type"])
            await rests.wait()
            heard.append((await receive()).get("code"))
            await ends.wait()
            heard.append((await receive()).get("code"))

        instance = await hosted(stage, body)
        if end == "its end is in hand":
            rests.set()
        if end != "nothing":
            instance.deliver({"type": DISCONNECT, "code": 1001}, {"turn": 2})
        await settle()
        instance.give_up()
        rests.set()
        await settle()
        ends.set()
        instance.deliver({"closed": True}, None)
        await settle()
        assert heard == [CONNECT, LEFT if end == "nothing" else 1001]

    play(scene)


def test_quiet_instances_are_asked_about_with_heartbeats_and_no_message_of_their_own(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(40):
            stage.connect()
        await stage.finish()
        sent = []
        beat = stage.worker.instances.layer.send_batch
        stage.worker.instances.layer.send_batch = lambda items: sent.extend(items) or beat(items)  # type: ignore[method-assign,func-returns-value,assignment]
        for _ in range(120):
            await stage.second()
        asking = [item for item in sent if item.headers and "flow" in item.headers]
        assert len(sent) <= 120 / BEAT_SECONDS
        assert len(asking) in (3, 4)
        assert all(len(unpack_body(item.body)["leases"]) == 41 for item in asking)
        assert stage.worker.instances.count == 41

    play(scene)


def test_an_instance_that_was_made_anew_here_is_not_taken_for_the_one_that_lost_its_connection(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        stage.connection.received("one")
        await stage.finish()
        server, _ = split(stage.connection.channel)
        news = {"server": server, "gone": {stage.connection._local: -1}}
        stage.worker.instances._spread(news, None)
        await stage.finish()
        assert stage.worker.instances.count == 1
        news["gone"] = {stage.connection._local: 0}
        stage.worker.instances._spread(news, None)
        await stage.finish()
        assert stage.worker.instances.count == 0

    play(scene)


def test_the_most_active_ones_leave_first_and_what_they_say_is_written_before_the_last_are_asked(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "LEAVE_AT_A_TIME", 1)

    async def scene(stage: Stage) -> None:
        connections = [stage.connection, stage.connect(), stage.connect()]
        await stage.finish()
        for connection in (connections[1], connections[0]):
            await stage.second()
            connection.received("one")
            await stage.finish()
        left: list[str] = []
        send = stage.worker.instances.layer.asend_batch

        async def written(items: Any) -> Any:
            left.extend(item.target for item in items if item.headers and "lease" in item.headers)
            left.append("written")
            return await send(items)

        stage.worker.instances.layer.asend_batch = written  # type: ignore[method-assign]
        stage.worker.instances.let_go()
        for _ in range(5_000):
            if stage.worker.instances.is_idle:
                break
            await asyncio.sleep(0.001)
        names = [name for name in left if name != "written"]
        assert names == [connections[number].channel for number in (0, 1, 2)]
        assert left.index("written") < left.index(names[-1])

    play(scene)


def test_an_event_that_waits_begins_when_the_end_of_the_one_before_is_stored(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        may_write = asyncio.Event()
        send = stage.worker.instances.layer.asend_batch

        async def held(items: Any) -> Any:
            await may_write.wait()
            return await send(items)

        stage.connection.received("one")
        stage.connection.received("two")
        await stage.go_on()
        stage.worker.instances.layer.asend_batch = held  # type: ignore[method-assign]
        [one] = stage.running()
        one.go_on()
        await settle()
        # A worker that is killed now has the server drop the first frame and send the second to another worker.
        assert stage.running() == []
        may_write.set()
        await settle()
        assert len(stage.running()) == 1
        await stage.finish()
        assert [name for _, name in stage.names] == ["connect", "one", "two"]

    play(scene)


def test_an_instance_whose_connection_is_gone_or_elsewhere_without_a_word_ends(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        gone, moved = stage.connect(), stage.connect()
        await stage.finish()
        del stage.context.connections[gone._local]
        moved._lease.epoch += 1  # type: ignore[union-attr]
        for _ in range(int(ASK_SECONDS + 2 * BEAT_SECONDS)):
            await stage.second()
        await stage.finish()
        assert stage.told[gone.channel] == [(0, "connect"), (0, "disconnect")]
        assert stage.told[moved.channel] == [(0, "connect")]
        assert stage.worker.instances.count == 1

    play(scene)


@pytest.mark.parametrize("heard", [False, True])
def test_a_server_that_does_not_answer_is_gone_unless_nothing_could_be_heard(
    play: Callable[..., None], heard: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        for second in range(int(ASK_SECONDS + UNANSWERED_SECONDS + 2 * BEAT_SECONDS)):
            stage.now += 1
            stage.worker.instances.beat()
            stage.worker.regained = int(second < 90 and not heard)
            await settle()
            stage.to_server.clear()
        assert stage.names[1:] == ([(0, "disconnect")] if heard else [])
        assert ("has given no heartbeat" in caplog.text) is heard

    play(scene)


def test_one_that_is_made_to_be_told_of_its_end_hears_of_it_at_once_and_says_nothing(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        heard: list[Any] = []

        async def body(receive: Receive, send: Send) -> None:
            heard.append((await receive())["type"])
            await send({"type": "websocket.send", "text": "nobody reads it"})

        await stage.let_go(stage.worker)  # it stops as well
        stage.now += 100
        orphan = Own(body)
        orphan.reply_channel, orphan.events, orphan.is_orphan = "daphne.dead!c", [(5, {"type": DISCONNECT})], True
        stage.to_server.clear()
        stage.worker.instances.begin(orphan)
        await settle()
        stage.worker.instances.beat()
        assert heard == [DISCONNECT]
        assert list(stage.to_server) == []
        assert stage.worker.instances.is_idle

    play(scene)


def test_the_ends_of_many_connections_are_told_with_one_look_at_the_instances(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        other = stage.connect()
        await stage.finish()
        instances = stage.worker.instances
        for connection in (stage.connection, other):
            instances._answered({"left": connection.channel}, None)
        instances._answered({"left": "daphne.x!gone"}, None)
        await settle()
        for connection in (stage.connection, other):
            assert stage.told[connection.channel][1:] == [(0, "disconnect")]

    play(scene)


class Own(Hosted):
    """An application that does what the test says."""

    name = "an application"
    is_orphan = False

    def __init__(self, body: Callable[[Receive, Send], Coroutine[Any, Any, None]]) -> None:
        self.reply_channel = "daphne.x!c"
        self.epoch = self.done = 0
        self.events = [(1, {"type": CONNECT})]
        self._body = body

    async def run(self, receive: Receive, send: Send) -> None:
        await self._body(receive, send)

    def reply_to(self, event: dict[str, Any]) -> dict[str, Any] | None:
        return event

    def checkpoint(self) -> bytes:
        return b"all"


def hosted(stage: Stage, body: Callable[[Receive, Send], Coroutine[Any, Any, None]]) -> Any:
    """The instance of an application of the test's own."""
    before = set(stage.worker.instances._running)
    stage.worker.instances.begin(Own(body))

    async def begun() -> Any:
        await settle()
        return next(iter(set(stage.worker.instances._running) - before), None)

    return begun()


def test_a_task_that_an_application_has_started_keeps_it_here_and_the_reason_names_it(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        async def body(receive: Receive, send: Send) -> None:
            await receive()
            asyncio.create_task(asyncio.sleep(3600), name="the clock")  # noqa: RUF006
            await receive()

        instance = await hosted(stage, body)
        assert instance.in_the_way == "the task 'the clock' that it has started still runs"
        assert not instance.can_be_left()
        instance.end()
        await settle()
        assert not instance.tasks.running

    play(scene)


def test_a_task_that_a_handler_has_cancelled_keeps_no_instance_from_going_on_elsewhere(
    play: Callable[..., None],
) -> None:
    async def scene(stage: Stage) -> None:
        async def body(receive: Receive, send: Send) -> None:
            await receive()
            task = asyncio.create_task(asyncio.sleep(3600))
            await asyncio.sleep(0)
            task.cancel()  # it ends when the handler has returned
            await receive()

        instance = await hosted(stage, body)
        assert instance.in_the_way is None
        said = [item.headers for item in stage.to_server if item.target == "daphne.x!c" and item.headers]
        assert [headers["checkpoint"] for headers in said if "checkpoint" in headers][-1] == b"all"

    play(scene)


def test_a_task_that_waits_for_events_keeps_nothing_here(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        async def body(receive: Receive, send: Send) -> None:
            while True:
                await asyncio.ensure_future(receive())

        instance = await hosted(stage, body)
        assert instance.can_be_left()

    play(scene)


def test_an_application_that_raises_is_logged_and_its_connection_told(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        async def body(receive: Receive, send: Send) -> None:
            raise RuntimeError("a bug of its own")

        assert await hosted(stage, body) is None
        [last] = [item.headers for item in stage.to_server if item.target == "daphne.x!c" and item.headers][-1:]
        assert last == {"epoch": 0, "turn": 0, "lease": None, "ended": True, "failed": True}
        assert "error in an application" in caplog.text
        assert "a bug of its own" in caplog.text

    play(scene)


def test_nothing_more_is_said_for_a_connection_that_others_have(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        ended: list[str] = []

        async def body(receive: Receive, send: Send) -> None:
            try:
                await receive()
                await receive()
            finally:
                await send({"type": "websocket.send", "text": "late"})
                ended.append("yes")

        instance = await hosted(stage, body)
        stage.to_server.clear()
        instance.deliver({"gone": True}, None)
        await settle()
        assert ended == ["yes"]
        assert list(stage.to_server) == []

    play(scene)


def test_an_event_of_an_application_is_one_whatever_its_keys_are(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        heard: list[Event] = []

        async def body(receive: Receive, send: Send) -> None:
            while True:
                heard.append(await receive())

        instance = await hosted(stage, body)
        heard.clear()
        event = {"type": "user.left", "gone": True, "closed": True}
        instance.deliver(dict(event), {"turn": 9})
        await settle()
        assert heard == [event]
        assert not instance.is_muted

    play(scene)


def test_one_whose_handler_hangs_is_ended_alone_and_waiting_for_events_is_no_hang(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(stage: Stage) -> None:
        quiet = stage.connect()
        await stage.finish()
        stage.now += 4.9
        stage.connection.received("one")
        await stage.go_on()
        for seconds, left in ((4.9, 2), (2.0, 1)):
            stage.now += seconds
            assert stage.worker.instances.give_up_hung(5.0) == []
            await stage.go_on()
            assert len(stage.worker.instances._running) == left
        assert stage.calls[-1][:2] == ("close", 1011)
        assert "has been in one handler for 6.9 s (--consumer-timeout) and is given up" in caplog.text
        quiet.received("two")
        await stage.finish()
        assert (0, "two") in stage.told[quiet.channel]

    play(scene)


def test_a_handshake_whose_handler_hangs_is_answered_with_500(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        stage.now += 5.1
        stage.worker.instances.give_up_hung(5.0)
        await stage.go_on()
        assert stage.calls[-1] == ("reject", 500)

    play(scene, accepted=False)


def test_one_that_does_not_end_although_its_handler_was_cancelled_is_named(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        go_on = asyncio.Event()

        async def body(receive: Receive, send: Send) -> None:
            await receive()
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    pass

        instance = await hosted(stage, body)
        for _ in range(2):
            stage.now += 6.0
            assert stage.worker.instances.give_up_hung(5.0) == []
            await settle()
        assert stage.worker.instances.give_up_hung(5.0) == [instance.hosted.name]
        assert stage.worker.instances.last_word_of(instance.task).headers["failed"]  # type: ignore[index, union-attr]
        assert stage.worker.instances.last_word_of(asyncio.current_task()) is None
        go_on.set()
        await settle()

    play(scene)


def test_of_an_event_for_several_each_has_a_copy_of_its_own(play: Callable[..., None]) -> None:
    async def scene(stage: Stage) -> None:
        heard: list[list[str]] = []

        async def body(receive: Receive, send: Send) -> None:
            while True:
                event = await receive()
                if "names" in event:
                    event["names"]["all"].append("one more")
                    heard.append(event["names"]["all"])

        members = [await hosted(stage, body) for _ in range(2)]
        to = [[member.channel.partition("!")[2], 9] for member in members]
        news = {"event": {"type": "x", "names": {"all": ["a"]}}, "to": to}
        assert not list(stage.worker.instances._spread(news, None) or ())
        await settle()
        assert heard == [["a", "one more"]] * 2

    play(scene)


def test_of_an_event_for_many_the_answers_of_the_first_are_written_before_the_last_have_it(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "PORTION", 2)

    async def scene(stage: Stage) -> None:
        heard: list[str] = []

        async def body(receive: Receive, send: Send) -> None:
            while True:
                event = await receive()
                if event["type"] == "x":
                    heard.append("event")
                    await send({"type": "websocket.send", "text": "answer"})

        members = [await hosted(stage, body) for _ in range(3)]
        await stage.go_on()
        send = stage.worker.instances.layer.asend_batch

        async def written(items: Any) -> Any:
            heard.append("written")
            return await send(items)

        stage.worker.instances.layer.asend_batch = written  # type: ignore[method-assign]
        to = [[member.channel.partition("!")[2], 9] for member in members]
        for _ in stage.worker.instances._spread({"event": {"type": "x"}, "to": to}, None) or ():
            await settle()
        await settle()
        assert heard == ["event", "event", "written", "event", "written"]

    play(scene)


def test_of_an_application_of_unknown_kind_nothing_is_carried() -> None:
    class Bare(Own):
        checkpoint = Hosted.checkpoint

    with pytest.raises(NotCarried, match="nothing is known of its state"):
        Bare(lambda receive, send: asyncio.sleep(0)).checkpoint()
    assert name_of({"type": DISCONNECT}) == "disconnect"
    assert App.name


def test_operators_hear_what_runs_with_the_lease_and_what_is_new_with_a_checkpoint(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[dict[str, str]] = [{"consumer": "app.Chat"}, {"user": "ada"}]
    monkeypatch.setattr(App, "news", lambda app: news.pop(0) if news else {})

    async def scene(stage: Stage) -> None:
        lease = stage.connection._lease
        assert lease is not None
        assert (lease.consumer, stage.connection.user, news) == ("app.Chat", "ada", [])
        stage.connection.received("one")
        await stage.finish()
        assert stage.connection.facts()["user"] == "ada", "what is not told again stays known"

    play(scene)


def test_threads_wait_while_many_instances_are_still_to_begin() -> None:
    layer = MemoryChannelLayer()
    loop = EventLoop(layer.aclose)
    held = Instances(10_000, layer, loop, Inbox(layer, loop), SyncSide())
    release, all_begun = threading.Event(), threading.Event()

    async def returns(receive: Receive, send: Send) -> None: ...

    def begin() -> None:
        for _ in range(STARTING_AT_A_TIME + 1):
            held.begin(Own(returns))
        all_begun.set()

    loop.get().call_soon_threadsafe(release.wait, 60)  # it is busy with something else
    thread = threading.Thread(target=begin)
    thread.start()
    try:
        wait_until(lambda: held._starting == STARTING_AT_A_TIME, "the first ones to be there")
        assert not all_begun.wait(0.1)
        release.set()
        assert all_begun.wait(60)
        wait_until(lambda: held.is_idle, "all of them to begin, and to end")
    finally:
        release.set()
        thread.join(60)
        loop.close()
