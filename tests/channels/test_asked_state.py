"""`channels.asked_state`: the connection's session one hop further, the same for a test's client and a live server."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections
from django.test import Client as Browser
from django.test import override_settings
from websockets.sync.client import connect as open_socket

from channel_layer.channel import Channel, Message
from channel_layer.draft import DraftChannelLayer
from channel_layer.exceptions import ChannelFull
from channel_layer.memory import MemoryChannelLayer
from channels import asked_state, route, route_class
from channels.asked_state import AskedState, can_be_asked, hold
from channels.auth import channel_session_user, channel_session_user_from_http
from channels.configured_layers import channel_layers
from channels.delay.worker import DelayWorker
from channels.exceptions import ConsumeLater, SessionUnavailable
from channels.generic.multiplexing import WebsocketDemultiplexer
from channels.session_stores import session_for_reply_channel
from channels.test import WSClient
from channels.test.layers import IsolatedLayer, placed
from channels.test.live_parts import ServerPart, WorkerPart, start
from channels.test.live_threads import Threaded
from tests.conftest import wait_until
from tests.fixtures.draft_layer import FileChannelLayer

pytestmark = pytest.mark.usefixtures("database")


class Hop:
    """What happens while the consumer of a hop is at work."""

    between: Callable[[], object] = list


@channel_session_user_from_http
def enter(message: Any) -> None:
    message.reply_channel.send({"accept": True})
    message.channel_session["room"] = "kitchen"


@channel_session_user
def receive(message: Any) -> None:
    """Put a frame on a channel of the application's own, or deal with it here."""
    command = json.loads(message["text"])
    session = message.channel_session
    if "set" in command:
        session.update(command["set"])
    if "to" not in command:
        answer(message)
        return
    passed_on = {"reply_channel": message.content["reply_channel"], **command}
    if "delay" in command:
        later = {"channel": command["to"], "delay": command["delay"], "content": passed_on}
        Channel("asgi.delay").send(later)
    else:
        Channel(command["to"]).send(passed_on)


@channel_session_user
def hop(message: Any) -> None:
    count = message.channel_session.get("count", 0)
    Hop.between()
    message.channel_session["count"] = count + 1
    answer(message)


@channel_session_user
async def async_hop(message: Any) -> None:
    message.channel_session["count"] = message.channel_session.get("count", 0) + 1
    await asyncio.sleep(0)
    answer(message)


@channel_session_user
def leave(message: Any) -> None:
    message.channel_session.flush()
    message.user = AnonymousUser()
    answer(message)


@channel_session_user
def again(message: Any) -> None:
    tries = message.channel_session["tries"] = message.channel_session.get("tries", 0) + 1
    if tries < 3:
        raise ConsumeLater
    answer(message)


def look(message: Any) -> None:
    """Read and change the session of another connection."""
    try:
        session = session_for_reply_channel(message["whose"])
    except SessionUnavailable as error:
        message.reply_channel.send({"text": json.dumps({"error": str(error)})})
        return
    message.reply_channel.send({"text": json.dumps({"found": {key: session[key] for key in sorted(session.keys())}})})
    session["visited"] = True
    session.save()


def answer(message: Any) -> None:
    session = {key: value for key, value in message.channel_session.items() if not key.startswith("_auth")}
    reply = {"user": message.user.get_username(), "session": session, "name": message.reply_channel.name}
    message.reply_channel.send({"text": json.dumps(reply)})


def stream(message: Any, **kwargs: Any) -> None:
    """A stream of a demultiplexer, which does with its part of a frame what `receive` does with a whole one."""
    if message.channel.name == "websocket.connect":
        channel_session_user_from_http(lambda message: None)(message)
        message.channel_session["room"] = "kitchen"
    elif message.channel.name == "websocket.receive":
        receive(message)


class Streams(WebsocketDemultiplexer):
    channel_session = True
    consumers = {"commands": stream}


ROUTES = [
    route_class(Streams, path=r"^/streams/"),
    route("websocket.connect", enter),
    route("websocket.receive", receive),
    *[route(f"chat.{consumer.__name__}", consumer) for consumer in (hop, async_hop, leave, again, look)],
]


class ClientSocket:
    """A socket of a test's client; what is on channels is consumed after each frame."""

    def __init__(self, user: User | None, path: str = "/chat/") -> None:
        self.client = WSClient()
        self.path = path
        if user is not None:
            self.client.force_login(user)
        self.client.send_and_consume("websocket.connect", path=path)

    def send(self, **command: Any) -> None:
        self.client.send_and_consume("websocket.receive", text=framed(command, self.path), path=self.path)
        name = command.get("to")
        if "delay" in command:
            wait_until(lambda: channel_layers["default"].channel_statistics(name)["messages_pending"], "the delay")
        while name is not None:
            try:
                self.client.consume(name, fail_on_none=False)
            except ConsumeLater:
                continue
            break

    def receive(self) -> Any:
        return self.client.receive()

    @staticmethod
    def gone() -> str:
        """Name of a connection that has ended."""
        name = WSClient().reply_channel
        gc.collect()
        return name

    def send_while_at_work(self, first: dict[str, Any], then: dict[str, Any]) -> list[Any]:
        """Send a frame, and another while a hop of the first is at work; both answers."""
        Hop.between = lambda: self.send(**then)
        try:
            self.send(**first)
        finally:
            Hop.between = list
        return [self.receive(), self.receive()]


class LiveSocket:
    """A socket to a live server, with workers of several threads behind it."""

    def __init__(self, stack: ExitStack, port: int, user: User | None, path: str = "/chat/") -> None:
        self.path = path
        headers = {}
        if user is not None:
            browser = Browser()
            browser.force_login(user)
            name = settings.SESSION_COOKIE_NAME
            headers["Cookie"] = f"{name}={browser.cookies[name].value}"
        url = f"ws://localhost:{port}{path}"
        self.socket = stack.enter_context(open_socket(url, additional_headers=headers))

    def send(self, **command: Any) -> None:
        self.socket.send(json.dumps(framed(command, self.path)))

    def receive(self) -> Any:
        return json.loads(self.socket.recv(20))

    def gone(self) -> str:
        """See `ClientSocket`: one of the same server."""
        self.send(set={})
        return str(self.receive()["name"]) + "x"

    def send_while_at_work(self, first: dict[str, Any], then: dict[str, Any]) -> list[Any]:
        """See `ClientSocket`."""
        begun, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            go_on.wait(20)

        Hop.between = wait
        try:
            self.send(**first)
            assert begun.wait(20)
            self.send(**then)
            answers = [self.receive()]
        finally:
            Hop.between = list
            go_on.set()
        return [*answers, self.receive()]


Opener = Callable[..., Any]


def framed(command: dict[str, Any], path: str) -> dict[str, Any]:
    return {"stream": "commands", "payload": command} if path == "/streams/" else command


@contextmanager
def serving(channel_layer: Any) -> Iterator[tuple[Any, int]]:
    """Run a server and a worker of three threads; their layer, and the port."""
    layer = IsolatedLayer(channel_layer, "default", ROUTES)
    with placed("default", layer):
        server, worker = Threaded(ServerPart(layer, "localhost")), Threaded(WorkerPart([layer], 3, False))
        yield layer, server.wait_until_ready()
        server.stop()
        worker.stop()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of a live server may be held up for longer than a server in operation should be."""
    monkeypatch.setattr(asked_state, "ANSWER_SECONDS", 60.0)


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Any, int]]:
    with serving(MemoryChannelLayer()) as served:
        yield served


@pytest.fixture(scope="module")
def live_draft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, int]]:
    """The same over a layer that somebody else wrote for Channels 1."""
    layer = DraftChannelLayer(FileChannelLayer(str(tmp_path_factory.mktemp("layer") / "file")), {})
    with serving(layer) as served:
        yield served
    layer.close()


@pytest.fixture(params=["client", "live", "live_draft"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """``opened(user)``: a socket of either kind."""
    if request.param == "client":
        with placed("default", IsolatedLayer(MemoryChannelLayer(), "default", ROUTES)):
            yield ClientSocket
        return
    layer, port = request.getfixturevalue(request.param)
    with placed("default", layer), ExitStack() as stack:
        yield lambda user, *path: LiveSocket(stack, port, user, *path)


@contextmanager
def delaying() -> Iterator[None]:
    """Have delayed messages sent when they are due."""

    def work() -> None:
        worker.run()
        connections.close_all()

    worker = DelayWorker(channel_layers["default"], signal_handlers=False)
    thread = start(work)
    try:
        yield
    finally:
        worker.stop()
        thread.join(20)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user(username="ada", password="secret")


def test_session_and_user_are_there_one_hop_further(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    for count, channel in enumerate(["chat.hop", "chat.async_hop", "chat.hop"], 1):
        socket.send(to=channel)
        found = socket.receive()
        assert (found["user"], found["session"]) == ("ada", {"room": "kitchen", "count": count})


def test_what_a_hop_changed_is_there_for_the_next_frame_and_the_other_way_round(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    socket.send(to="chat.hop")
    socket.receive()
    socket.send(set={"topic": "tea"})
    assert socket.receive()["session"] == {"room": "kitchen", "count": 1, "topic": "tea"}
    for number in range(20):  # the hop of each sees what its frame has changed, however soon it begins
        socket.send(to="chat.hop", set={"number": number})
        assert socket.receive()["session"]["number"] == number


def test_they_are_there_after_a_delay(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    with delaying():
        socket.send(to="chat.hop", delay=1, set={"topic": "tea"})
        found = socket.receive()
    assert (found["user"], found["session"]) == ("ada", {"room": "kitchen", "topic": "tea", "count": 1})


def test_they_are_there_behind_a_demultiplexer(opened: Opener, ada: User) -> None:
    socket = opened(ada, "/streams/")
    for count, channel in enumerate(["chat.hop", "chat.async_hop"], 1):
        socket.send(to=channel, set={"topic": "tea"})
        found = socket.receive()
        assert (found["user"], found["session"]) == ("ada", {"room": "kitchen", "topic": "tea", "count": count})


def test_two_at_once_lose_nothing_of_each_other(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    socket.send_while_at_work({"to": "chat.hop"}, {"set": {"topic": "tea"}})
    socket.send(set={})
    assert socket.receive()["session"] == {"room": "kitchen", "count": 1, "topic": "tea"}


def test_another_connections_session_is_found_by_its_name_and_can_be_changed(opened: Opener, ada: User) -> None:
    socket, other = opened(ada), opened(None)
    other.send(set={"topic": "coffee"})
    name = other.receive()["name"]
    socket.send(to="chat.look", whose=name)
    assert socket.receive() == {"found": {"room": "kitchen", "topic": "coffee"}}
    # From here too, outside every consumer. Its consumer may still be about to save what it changed.
    wait_until(lambda: session_for_reply_channel(name).get("visited"), "the change to have arrived")
    other.send(set={})
    assert other.receive()["session"] == {"room": "kitchen", "topic": "coffee", "visited": True}


def test_after_a_logout_in_a_hop_the_next_frame_is_nobodys(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    socket.send(to="chat.leave")
    assert socket.receive()["user"] == ""
    wait_until(lambda: self_of(socket) == {"user": "", "session": {}}, "the session to be empty")


def self_of(socket: Any) -> dict[str, Any]:
    socket.send(set={})
    found = socket.receive()
    return {"user": found["user"], "session": found["session"]}


def test_a_hop_that_asks_for_later_finds_what_it_left(opened: Opener, ada: User) -> None:
    socket = opened(ada)
    socket.send(to="chat.again")
    assert socket.receive()["session"] == {"room": "kitchen", "tries": 3}


def test_a_store_in_the_database_serves_hops_too(opened: Opener, ada: User) -> None:
    with override_settings(CHANNEL_SESSION_STORE="database"):
        socket = opened(ada)
        socket.send(to="chat.hop")
        found = socket.receive()
        assert (found["user"], found["session"]) == ("ada", {"room": "kitchen", "count": 1})


class TestAConnectionThatIsGone:
    def test_asking_for_its_session_is_an_error_that_names_the_setting(self, opened: Opener, ada: User) -> None:
        socket = opened(ada)
        gone = socket.gone()
        expected = (
            f"there is no channel session of {gone}: the connection has closed, and its session is kept there. Set "
            "CHANNEL_SESSION_STORE = 'database' for sessions that outlive their connections."
        )
        socket.send(to="chat.look", whose=gone)
        assert socket.receive() == {"error": expected}
        began = time.monotonic()
        with pytest.raises(SessionUnavailable, match=f"^{re.escape(expected)}$"):
            session_for_reply_channel(gone)
        assert time.monotonic() - began < asked_state.ANSWER_SECONDS

    def test_its_session_stays_for_messages_that_are_still_on_their_way(self, live: Any, ada: User) -> None:
        layer, port = live
        with placed("default", layer), ExitStack() as stack:
            socket = LiveSocket(stack, port, ada)
            socket.send(set={"topic": "tea"})
            name = socket.receive()["name"]
            socket.socket.close()
            session = session_for_reply_channel(name)
            assert (session["room"], session["topic"]) == ("kitchen", "tea")

    def test_a_process_that_does_not_answer_is_waited_for_once(
        self, layer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asked_state, "ANSWER_SECONDS", 0.2)
        with pytest.raises(SessionUnavailable, match=r"has not answered for 0\.2 seconds"):
            session_for_reply_channel("daphne.gone!s.one")
        monkeypatch.setattr(asked_state, "ANSWER_SECONDS", 600)
        with pytest.raises(SessionUnavailable, match="has just not answered"):
            session_for_reply_channel("daphne.gone!s.two")

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_consumer_that_does_not_need_the_session_runs(
        self, layer: Any, is_async: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asked_state, "ANSWER_SECONDS", 0.05)
        message = Message({"reply_channel": f"daphne.lost{is_async}!s.one"}, "chat.hop", layer)
        seen: list[str] = []

        @channel_session_user
        def consumer(message: Any) -> None:
            seen.append("ran")
            with pytest.raises(SessionUnavailable):
                message.channel_session.get("room")
            with pytest.raises(SessionUnavailable):
                bool(message.user.is_authenticated)

        @channel_session_user
        async def async_consumer(message: Any) -> None:
            consumer.__wrapped__(message)  # type: ignore[attr-defined]

        if is_async:
            asyncio.run(async_consumer(message))
        else:
            consumer(message)
        assert seen == ["ran"]


class TestAskedState:
    def test_only_what_changed_is_sent(self, layer: Any) -> None:
        name = "defaultAbCdE"
        holder = hold(name, 100)
        holder.values = {"a": b"1", "b": b"2"}
        asked = AskedState(layer, name)
        assert asked.state == {"a": b"1", "b": b"2"}
        holder.change({"a": b"changed meanwhile"})
        asked.state = {"a": b"1", "c": b"3"}
        assert holder.values == {"a": b"changed meanwhile", "c": b"3"}

    def test_a_full_channel_is_waited_for_when_asking_and_an_error_when_writing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(asked_state, "ANSWER_SECONDS", 0.05)
        layer = MemoryChannelLayer(capacity=1)
        layer.send("daphne.full!s.x", {})
        with pytest.raises(SessionUnavailable, match="its web server takes no messages"):
            _ = AskedState(layer, "daphne.full!s.y").state
        asked = AskedState(layer, "daphne.full!s.y")
        asked._kept = {}
        with pytest.raises(ChannelFull):
            asked.state = {"a": b"1"}

    @pytest.mark.parametrize(("name", "can"), [("daphne.x!s.y", True), ("daphne.x!y", False), ("mine", False)])
    def test_which_connections_can_be_asked(self, name: str, can: bool) -> None:
        assert can_be_asked(name) is can
        client = WSClient()
        assert can_be_asked(client.reply_channel)
