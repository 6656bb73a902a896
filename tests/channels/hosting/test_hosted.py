"""A consumer goes on in another process from what the one before it has left."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import override_settings
from django.urls import path

from channel_layer.codec import pack_body, unpack_body
from channel_layer.memory import MemoryChannelLayer
from channels.auth import AuthMiddlewareStack, login, logout
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.hosting.hosted import HostedApplication
from channels.hosting.scopes import websocket_scope
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.runtime.sync_threads import SyncThreads
from tests.conftest import wait_until
from workers.event_loop import EventLoop
from workers.inbox import Inbox
from workers.instances import Instances, NotCarried

NAME = "daphne.x!s.y"
OPENING = {"reply_channel": NAME, "path": "/chat/", "headers": [], "order": 0}


class Somebody:
    def __init__(self, pk: int) -> None:
        self.pk = pk


class Chat(AsyncConsumer):
    log: list[Any] = []

    async def websocket_connect(self, event: dict[str, Any]) -> None:
        self.room, self.count = "lobby", 0
        self.scope["since"] = "connect"

    async def websocket_receive(self, event: dict[str, Any]) -> None:
        self.count += 1
        self.log.append((self.room, self.count, self.scope.get("since"), self.channel_name))

    async def websocket_disconnect(self, event: dict[str, Any]) -> None:
        raise StopConsumer


class Holder(Chat):
    async def websocket_connect(self, event: dict[str, Any]) -> None:
        self.somebody = Somebody(1)


class Game(Chat):
    async def websocket_connect(self, event: dict[str, Any]) -> None:
        self.lock = asyncio.Lock()

    async def handover(self) -> Any:
        return {"round": 3}

    async def resumed(self, state: Any) -> None:
        self.lock, self.state = asyncio.Lock(), state

    async def websocket_receive(self, event: dict[str, Any]) -> None:
        self.log.append((type(self.lock).__name__, self.state))


class Broken(Game):
    async def handover(self) -> Any:
        raise RuntimeError("no state to be had")


class Wrong(Game):
    async def handover(self) -> Any:
        return asyncio.Lock()


CONNECT, RECEIVE = {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1000}


class Run:
    """One instance, with its events, and what it has sent and left."""

    def __init__(
        self,
        application: Any,
        events: list[Any],
        left: bytes | None = None,
        user: Any = None,
        state: Any = None,
        name: str = NAME,
        begins: bool = False,
    ) -> None:
        async def with_user(scope: Any, receive: Any, send: Any) -> None:
            await application({**scope, "user": user}, receive, send)

        waiting = [(1, CONNECT)] if begins else []
        self.hosted = HostedApplication(with_user, websocket_scope(OPENING, state or {}), name, 0, 0, waiting, left)
        self.events = list(events)
        self.sent: list[Any] = []
        self.checkpoint: bytes | str | None = None
        self.handed: bytes | None = None
        asyncio.run(self._run())

    async def _run(self) -> None:
        await self.hosted.run(self._receive, self._send)

    async def _receive(self) -> Any:
        if not self.events:
            try:
                self.checkpoint = self.hosted.checkpoint()
            except NotCarried as reason:
                self.checkpoint = str(reason)
            self.handed = await self.hosted.hand_over()
            self.events = [DISCONNECT]
        return self.events.pop(0)

    async def _send(self, event: Any) -> None:
        self.hosted.reply_to(event)
        self.sent.append(event)

    @property
    def left(self) -> bytes:
        assert isinstance(self.checkpoint, bytes)
        return self.checkpoint


@pytest.fixture(autouse=True)
def log() -> list[Any]:
    Chat.log.clear()
    return Chat.log


RESTART = [{"type": "websocket.close", "code": 1012, "reason": "service restart"}]


def test_attributes_and_what_was_put_into_the_scope_go_on_and_connect_is_not_run_again(log: list[Any]) -> None:
    first = Run(Chat.as_asgi(), [CONNECT, RECEIVE])
    second = Run(Chat.as_asgi(), [RECEIVE], first.left)
    Run(Chat.as_asgi(), [RECEIVE], second.left)
    assert log == [("lobby", count, "connect", NAME) for count in (1, 2, 3)]


def test_the_state_of_the_process_stays_in_it(log: list[Any]) -> None:
    class Stateful(Chat):
        async def websocket_receive(self, event: dict[str, Any]) -> None:
            self.scope["state"] = {**self.scope["state"], "lock": asyncio.Lock()}
            self.log.append(sorted(self.scope["state"]))

    Stateful.__qualname__ = "Stateful"
    first = Run(Stateful.as_asgi(), [CONNECT, RECEIVE, RECEIVE], state={"pool": 1})
    Run(Stateful.as_asgi(), [RECEIVE], first.left, state={"other": 2})
    assert log == [["lock", "pool"], ["lock", "pool"], ["lock", "other"]]


class Pooled(Chat):
    async def websocket_connect(self, event: dict[str, Any]) -> None:
        self.pool, self.most = self.scope["state"]["pool"], self.scope["state"]["most"]

    async def websocket_receive(self, event: dict[str, Any]) -> None:
        self.log.append((self.pool, self.most))


def test_an_attribute_that_is_of_the_state_is_that_of_the_next_process(
    log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = asyncio.Lock(), asyncio.Lock()
    first = Run(Pooled.as_asgi(), [CONNECT, RECEIVE], state={"pool": here, "most": 7})
    Run(Pooled.as_asgi(), [RECEIVE], first.left, state={"pool": there, "most": 8})
    assert log == [(here, 7), (there, 7)]
    assert Run(Pooled.as_asgi(), [RECEIVE], first.left).sent == RESTART
    assert "self.pool was 'pool' of the state, which the application has not made here" in caplog.text


def test_what_is_handed_over_is_given_to_the_next_before_its_first_event(log: list[Any]) -> None:
    first = Run(Game.as_asgi(), [CONNECT])
    assert "self.lock is a Lock, which cannot be carried" in str(first.checkpoint)
    Run(Game.as_asgi(), [RECEIVE], first.handed)
    assert log == [("Lock", {"round": 3})]


@pytest.mark.parametrize(
    ("consumer", "complaint"),
    [(Broken, "no state to be had"), (Wrong, "handover() of Wrong returned what cannot be carried"), (Chat, "")],
)
def test_nothing_is_handed_over_that_is_not_there(
    consumer: type[Chat], complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert Run(consumer.as_asgi(), [CONNECT]).handed is None
    assert complaint in caplog.text


def test_no_handler_runs_as_another_user(log: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    first = Run(Chat.as_asgi(), [CONNECT], user=Somebody(1))
    for user in (Somebody(2), None):
        assert Run(Chat.as_asgi(), [RECEIVE], first.left, user).sent == RESTART
    assert log == []
    assert "the scope has another user now" in caplog.text
    assert Run(Chat.as_asgi(), [RECEIVE], first.left, Somebody(1)).sent == []
    assert len(log) == 1


def test_a_checkpoint_is_for_its_class_alone(log: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    first = Run(Chat.as_asgi(), [CONNECT])
    assert Run(Game.as_asgi(), [RECEIVE], first.left).sent == RESTART
    assert log == []
    assert "leads to tests.channels.hosting.test_hosted.Game now" in caplog.text


def test_a_checkpoint_that_cannot_be_loaded_has_the_client_connect_again(
    log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = Run(Chat.as_asgi(), [CONNECT])
    with override_settings(SECRET_KEY="another"):
        assert Run(Chat.as_asgi(), [RECEIVE], first.left).sent == RESTART
    assert log == []
    assert "closing the application behind /chat/: it is signed with another SECRET_KEY" in caplog.text


def test_a_checkpoint_is_for_its_connection_alone(log: list[Any]) -> None:
    first = Run(Chat.as_asgi(), [CONNECT])
    assert Run(Chat.as_asgi(), [RECEIVE], first.left, name="daphne.x!s.z").sent == RESTART
    assert log == []


def test_what_a_checkpoint_may_not_name_is_said_and_has_the_client_connect_again(
    log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = Run(Holder.as_asgi(), [CONNECT])
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[]):
        assert Run(Holder.as_asgi(), [RECEIVE], first.left).sent == RESTART
    assert f"it names {__name__}.Somebody, which CHANNEL_CHECKPOINT_CLASSES does not list" in caplog.text
    assert log == []


@pytest.mark.parametrize("place", ["router", "constructor"])
def test_one_that_cannot_be_made_again_has_the_client_connect_again(
    place: str, log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    class NeedsRoom(Chat):
        def __init__(self, room: str) -> None: ...

    async def without_route(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("No route found for path 'chat/'.")

    first = Run(Chat.as_asgi(), [CONNECT])
    changed, complaint = without_route, "ValueError(\"No route found for path 'chat/'.\")"
    if place == "constructor":
        changed, complaint = NeedsRoom.as_asgi(), "missing 1 required positional argument: 'room'"  # type: ignore[assignment]
    assert Run(changed, [RECEIVE], first.left).sent == RESTART
    assert log == []
    assert "closing the application behind /chat/: it cannot be made again: " in caplog.text
    assert complaint in caplog.text


def test_an_error_of_a_consumer_that_was_made_again_is_its_own(log: list[Any]) -> None:
    first = Run(Chat.as_asgi(), [CONNECT])
    with pytest.raises(ValueError, match="No handler for message type no"):
        Run(Chat.as_asgi(), [{"type": "no.such"}], first.left)


@pytest.mark.parametrize(
    ("sends", "hears", "is_error"),
    [
        ([], [CONNECT], True),
        ([{"type": "websocket.http.response.start", "status": 401}], [CONNECT], True),
        ([{"type": "websocket.accept"}], [CONNECT], False),
        ([{"type": "websocket.close"}], [CONNECT], False),
        ([], [CONNECT, DISCONNECT], False),
    ],
)
def test_an_application_that_returns_without_an_answer_is_named(
    sends: list[Any], hears: list[Any], is_error: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for _ in hears:
            await receive()
        for event in sends:
            await send(event)

    Run(application, hears, begins=True)
    assert ("has returned without an answer to the handshake" in caplog.text) == is_error


def test_an_application_that_is_no_consumer_carries_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def raw(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    assert "nothing is known of its state" in str(Run(raw, [CONNECT]).checkpoint)
    assert Run(raw, [RECEIVE], Run(Chat.as_asgi(), [CONNECT]).left).sent == RESTART
    assert "no consumer has taken its checkpoint" in caplog.text


@pytest.mark.parametrize("extra", [None, Somebody(1)], ids=["plain", "deep"])
def test_a_checkpoint_is_made_again_whenever_something_has_changed_and_only_then(extra: Any) -> None:
    made: list[bytes] = []

    class Changing(Chat):
        async def websocket_connect(self, event: dict[str, Any]) -> None:
            self.room, self.count, self.names, self.extra = "lobby", 0, ["a"], extra

        async def websocket_receive(self, event: dict[str, Any]) -> None:
            if event["text"] == "name":
                self.names[0] = "b"
            elif event["text"] == "user":
                self.scope["user"].pk = 8
            elif event["text"] == "scope":
                self.scope["more"] = 1

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await Changing.as_asgi()({**scope, "user": Somebody(7)}, receive, send)

    async def scene() -> None:
        hosted = HostedApplication(application, websocket_scope(OPENING, {}), NAME, 0, 0, [], None)
        texts = ["nothing", "name", "nothing", "user", "nothing", "scope"]
        events = [CONNECT, *({**RECEIVE, "text": text} for text in texts), DISCONNECT]

        async def receive() -> Any:
            if len(events) <= len(texts) + 1:
                made.append(hosted.checkpoint())
            return events.pop(0)

        await hosted.run(receive, lambda event: asyncio.sleep(0))

    asyncio.run(scene())
    connect, nothing, name, nothing2, user, nothing3, scope = made
    assert connect is nothing
    assert name is nothing2
    assert user is nothing3
    assert len({connect, name, user, scope}) == 4


class Account(AsyncConsumer):
    """Does to its session and user what a frame says, and notes what it finds."""

    log: list[Any] = []

    async def websocket_connect(self, event: dict[str, Any]) -> None: ...

    async def websocket_receive(self, event: dict[str, Any]) -> None:
        session, (do, *names) = self.scope["session"], event["text"].split()
        if do == "put":
            session["colour"] = names[0]
        elif do == "login":
            await login(self.scope, await User.objects.aget(username=names[0]))
        elif do == "token":
            self.scope["user"] = await User.objects.aget(username=names[0])
        elif do == "logout":
            await logout(self.scope)
        elif do == "save":
            await sync_to_async(session.save)()
        self.log.append((self.scope["user"].username, session.get("colour")))

    async def websocket_disconnect(self, event: dict[str, Any]) -> None:
        raise StopConsumer


def frame(text: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": text}


class Accounts:
    """A connection whose instance is made anew for each frame."""

    def __init__(self) -> None:
        stack = AuthMiddlewareStack(Account.as_asgi())

        async def without_user(scope: Any, receive: Any, send: Any) -> None:
            del scope["user"]
            await stack(scope, receive, send)

        self.application = without_user
        self.left = Run(without_user, [CONNECT]).left

    def say(self, text: str) -> Any:
        Account.log.clear()
        run = Run(self.application, [frame(text)], self.left)
        if run.sent:
            assert run.sent == RESTART
            return "closed"
        self.left = run.left
        return Account.log.pop()


@pytest.fixture
def ada(database: None) -> User:
    return User.objects.create_user("ada")


@pytest.mark.usefixtures("ada")
class TestSessions:
    def test_what_is_not_saved_goes_on_with_the_connection(self) -> None:
        accounts = Accounts()
        assert accounts.say("put red") == accounts.say("look") == accounts.say("look") == ("", "red")
        assert not Session.objects.exists()

    @pytest.mark.parametrize("save", [True, False], ids=["saved", "not saved"])
    def test_who_has_logged_in_stays_so_and_logs_out_of_the_same_session(self, save: bool) -> None:
        accounts = Accounts()
        accounts.say("login ada")
        if save:
            accounts.say("save")
        assert accounts.say("look") == ("ada", None)
        assert accounts.say("put red") == accounts.say("look") == ("ada", "red")
        assert Session.objects.count() == 1
        assert accounts.say("logout") == accounts.say("look") == ("", None)
        assert not Session.objects.exists()

    @pytest.mark.parametrize("save", [True, False], ids=["saved", "not saved"])
    def test_no_handler_runs_as_a_user_whose_session_is_gone(self, save: bool) -> None:
        accounts = Accounts()
        accounts.say("login ada")
        if save:
            accounts.say("save")
        Session.objects.all().delete()
        assert accounts.say("look") == "closed"

    def test_no_handler_runs_as_a_user_whose_password_has_changed_since(self, ada: User) -> None:
        accounts = Accounts()
        accounts.say("login ada")
        ada.set_password("another")
        ada.save()
        assert accounts.say("look") == "closed"

    def test_a_user_whom_a_handler_has_found_without_the_session_stays(self) -> None:
        accounts = Accounts()
        assert accounts.say("token ada") == accounts.say("look") == ("ada", None)
        assert accounts.say("put red") == accounts.say("look") == ("ada", "red")
        accounts.say("logout")
        assert accounts.say("look") == ("", None)


def test_a_user_of_the_scope_is_handed_over_too(log: list[Any]) -> None:
    class Known(Game):
        async def websocket_connect(self, event: dict[str, Any]) -> None:
            await super().websocket_connect(event)
            self.scope["user"] = Somebody(3)

        async def websocket_receive(self, event: dict[str, Any]) -> None:
            self.log.append(self.scope["user"].pk)

    Run(Known.as_asgi(), [RECEIVE], Run(Known.as_asgi(), [CONNECT]).handed)
    assert log == [3]


MOST_BYTES = 8_000
"""Of a quiet instance with as many headers as a browser sends, by what is allocated."""


def test_a_quiet_instance_is_small() -> None:
    layer = MemoryChannelLayer()
    layer.send_batch = layer.asend_batch = AsyncMock(return_value=[])  # type: ignore[method-assign]
    loop = EventLoop(layer.aclose)
    instances = Instances(1_000, layer, loop, Inbox(layer, loop), SyncThreads(1))
    application = ProtocolTypeRouter({"websocket": URLRouter([path("chat/", Chat.as_asgi())])})
    headers = [[b"name-%d" % number, b"value %d" % number * 4] for number in range(9)]

    def begin(count: int) -> None:
        for number in range(count):
            own = [[b"cookie", b"%064d" % number], [b"sec-websocket-key", b"%024d" % number]]
            opening = unpack_body(pack_body({**OPENING, "headers": [*headers, *own]}))
            events = [(1, CONNECT.copy())]
            scope = websocket_scope(opening, {})
            instances.begin(HostedApplication(application, scope, f"{NAME}{number:020d}", 0, 0, events, None))
        wait_until(
            lambda: instances.outlet.is_idle and instances.count and all(one.is_quiet for one in instances._running),
            "quiet instances",
        )
        gc.collect()

    try:
        begin(50)  # what is made once
        tracemalloc.start()
        begin(200)
        size = tracemalloc.get_traced_memory()[0] / 200
    finally:
        tracemalloc.stop()
        instances.close()
        loop.close()
    print("SIZE", size)
    assert size < MOST_BYTES


class Named(Somebody):
    is_authenticated = True

    def __init__(self, name: str) -> None:
        super().__init__(7)
        self.name = name

    def get_username(self) -> str:
        return self.name


def test_operators_are_told_what_runs_and_for_whom_once() -> None:
    hosted = Run(Chat.as_asgi(), [CONNECT, RECEIVE], user=Named("ada")).hosted
    assert hosted.news() == {"consumer": f"{__name__}.Chat", "user": "ada"}
    assert hosted.news() == {}
    hosted._consumer.scope["user"] = Named("bob")
    assert hosted.news() == {"user": "bob"}


def test_of_an_application_without_a_consumer_operators_hear_nothing() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    assert Run(application, [CONNECT]).hosted.news() == {}
