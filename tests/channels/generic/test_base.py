"""`BaseConsumer`: finding the method of a message, decorating and running it."""

from __future__ import annotations

import abc
import asyncio
import gc
import logging
from typing import Any

import pytest

from channel_layer.channel import Message
from channels import route_class
from channels.generic import BaseConsumer
from channels.generic.websockets import WebsocketConsumer
from routing import Router, RoutingError

from ..driving import Socket, working
from ..messages import replies, websocket


class Post(BaseConsumer):
    method_mapping = {"letters": "letter", "parcels": "parcel"}

    def letter(self, message: Any, **kwargs: Any) -> None:
        self.got = ("letter", message, kwargs)

    def parcel(self, message: Any, **kwargs: Any) -> None:
        self.got = ("parcel", message, kwargs)


class SlowPost(Post):
    async def letter(self, message: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.got = ("slow letter", message, kwargs)


def test_each_channel_has_its_method(layer: Any) -> None:
    message = Message({}, "letters", layer)
    consumer = Post(message, street="Main")
    assert consumer.got == ("letter", message, {"street": "Main"})
    assert Post(Message({}, "parcels", layer)).got[0] == "parcel"


def test_the_instance_knows_the_message_and_what_the_route_captured(layer: Any) -> None:
    message = Message({}, "letters", layer)
    consumer = Post(message, street="Main")
    assert consumer.message is message
    assert consumer.kwargs == {"street": "Main"}


def test_the_channels_are_those_of_the_mapping() -> None:
    assert Post.channel_names() == {"letters", "parcels"}
    assert Router([route_class(Post)]).channels == {"letters", "parcels"}


def test_a_class_can_be_its_own_route(layer: Any) -> None:
    router = Router([Post.as_route(to=r"^(?P<street>\w+)$")])
    assert router.match(Message({"to": "Main"}, "letters", layer)) == (Post, {"street": "Main"})
    assert router.match(Message({"to": ""}, "letters", layer)) is None


def test_a_route_can_give_its_class_other_attributes(layer: Any) -> None:
    router = Router([Post.as_route(attrs={"method_mapping": {"cards": "letter"}, "size": 3}, to="^Main$")])
    match = router.match(Message({"to": "Main"}, "cards", layer))
    assert match is not None
    consumer, kwargs = match
    assert issubclass(consumer, Post)
    assert consumer is not Post
    assert (consumer.__name__, consumer.__module__, consumer.size) == ("Post", Post.__module__, 3)
    assert not hasattr(Post, "size")
    assert kwargs == {}


def test_attributes_for_a_route_are_a_dict() -> None:
    with pytest.raises(TypeError, match=r"attrs of .*Post\.as_route\(\) is a dict of attributes, not \['size'\]"):
        Post.as_route(attrs=["size"])  # type: ignore[arg-type]


def test_a_class_whose_constructor_takes_other_arguments_is_found_at_start_up() -> None:
    class Odd(Post):
        def __init__(self) -> None: ...

    class Fine(Post):
        def __init__(self, message: Any, street: str) -> None: ...

    Router([Fine.as_route(to="(?P<street>.)")])
    with pytest.raises(RoutingError, match="Odd"):
        Router([route_class(Odd)])
    with pytest.raises(RoutingError, match="Fine"):
        Router([Fine.as_route(to="(?P<town>.)")])


def test_the_error_for_a_method_that_is_missing_names_class_channel_and_method(layer: Any) -> None:
    class Lost(Post):
        method_mapping = {"letters": "latter"}

    with pytest.raises(AttributeError) as caught:
        Lost(Message({}, "letters", layer))
    for part in ("test_base", "Lost", "'letters'", "'latter'", "latter(self, message, **kwargs)"):
        assert part in str(caught.value)


def test_the_error_for_a_channel_that_is_not_mapped_names_it(layer: Any) -> None:
    with pytest.raises(LookupError, match=r"Post got a message on 'cards', which its method_mapping does not name"):
        Post(Message({}, "cards", layer))


@pytest.mark.parametrize(("kind", "closes"), [("connect", True), ("receive", True), ("disconnect", False)])
def test_a_websocket_without_a_method_is_closed(layer: Any, kind: str, closes: bool) -> None:
    class Half(WebsocketConsumer):
        method_mapping = {f"websocket.{kind}": "missing"}

    with pytest.raises(AttributeError):
        Half(websocket(layer, kind, text="x"))
    assert replies(layer) == ([{"close": 1011}] if closes else [])


def test_the_worker_logs_a_missing_method_and_goes_on(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Half(WebsocketConsumer):
        method_mapping = {**WebsocketConsumer.method_mapping, "websocket.receive": "raw_recieve"}

    with caplog.at_level(logging.ERROR), working(layer, [Half.as_route()]):
        socket = Socket(layer)
        assert socket.connect() == [{"accept": True}]
        assert socket.say("x") == [{"close": 1011}]
        assert socket.failed
        assert Socket(layer, "other").connect() == [{"accept": True}]
    assert "Half has no method 'raw_recieve'" in caplog.text


def test_a_coroutine_comes_back_and_gives_the_consumer(layer: Any) -> None:
    message = Message({}, "letters", layer)
    consumer = asyncio.run(SlowPost(message, street="Main"))  # type: ignore[arg-type]
    assert consumer.got == ("slow letter", message, {"street": "Main"})
    assert SlowPost(Message({}, "parcels", layer)).got[0] == "parcel"


def test_dispatch_gives_the_coroutine(layer: Any) -> None:
    message = Message({}, "letters", layer)
    consumer = SlowPost.__new__(SlowPost)
    coroutine = consumer.dispatch(message)
    assert asyncio.iscoroutine(coroutine)
    assert asyncio.run(coroutine) is consumer
    assert consumer.got == ("slow letter", message, {})


def test_a_coroutine_that_nobody_runs_can_be_closed(layer: Any) -> None:
    SlowPost(Message({}, "letters", layer)).close()  # type: ignore[attr-defined]
    # A coroutine left behind would warn when it is collected, and warnings are errors here.
    gc.collect()


@pytest.mark.parametrize("attribute", ["channel_session", "channel_session_user"])
def test_sessions_are_given_on_demand(layer: Any, attribute: str) -> None:
    seen = []

    class Counting(BaseConsumer):
        method_mapping = {"websocket.receive": "receive"}

        def receive(self, message: Any, **kwargs: Any) -> None:
            seen.append((hasattr(message, "channel_session"), hasattr(message, "user")))

    Counting(websocket(layer, "receive"))
    Router([Counting.as_route(attrs={attribute: True})]).match(websocket(layer, "receive"))[0](  # type: ignore[index]
        websocket(layer, "receive")
    )
    assert seen == [(False, False), (True, attribute == "channel_session_user")]


def test_a_session_of_a_coroutine_is_saved_when_it_ends(layer: Any) -> None:
    class Remembering(WebsocketConsumer):
        channel_session = True

        async def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            session = self.message.channel_session
            session["said"] = [*session.get("said", []), text]
            self.send(text=",".join(session["said"]))

    with working(layer, [Remembering.as_route()]):
        socket = Socket(layer)
        socket.connect()
        socket.say("a")
        assert socket.say("b") == [{"text": "a,b"}]


def test_abstract_mixins_can_be_combined_with_consumers(layer: Any) -> None:
    class Greeter(abc.ABC):
        @abc.abstractmethod
        def greeting(self) -> str: ...

    class Polite(Greeter, WebsocketConsumer):
        def greeting(self) -> str:
            return "hello"

        def connect(self, message: Any, **kwargs: Any) -> None:
            self.send(text=self.greeting())

    Polite(websocket(layer))
    assert replies(layer) == [{"text": "hello"}]
