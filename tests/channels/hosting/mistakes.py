"""Applications with mistakes, one behind each path, as they can be made in a project for Channels 4."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.urls import path

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter


class Consumer(AsyncWebsocketConsumer):
    """Makes its mistake with the first frame."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.mistake()
        await self.send("no mistake")

    async def mistake(self) -> None: ...


class UnknownType(Consumer):
    groups = ["unknown-type"]

    async def mistake(self) -> None:
        await self.channel_layer.group_send("unknown-type", {"type": "no.such.handler"})


class PrivateType(Consumer):
    async def mistake(self) -> None:
        await self.channel_layer.send(self.channel_name, {"type": "_private"})


class NeedsArguments(Consumer):
    def __init__(self, room: str) -> None:
        super().__init__()
        self.room = room


class Unserialisable(Consumer):
    async def mistake(self) -> None:
        await self.channel_layer.group_send("room", {"type": "said", "by": object()})


class BadGroup(Consumer):
    async def mistake(self) -> None:
        await self.channel_layer.group_add("not a name!", self.channel_name)


class SyncBadGroup(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        async_to_sync(self.channel_layer.group_send)("not a name!", {"type": "said"})


class BadChannel(Consumer):
    async def mistake(self) -> None:
        await self.channel_layer.send("not a name", {"type": "said"})


class NobodyThere(Consumer):
    async def mistake(self) -> None:
        name = f"{self.channel_name[:-6]}nobody"
        await self.channel_layer.send(name, {"type": "said"})
        await self.channel_layer.group_add("room", name)
        await self.channel_layer.group_send("room", {"type": "said"})


class UnknownEvent(Consumer):
    async def mistake(self) -> None:
        await self.base_send({"type": "websocket.shout", "text": "x"})


class NoText(Consumer):
    async def mistake(self) -> None:
        await self.base_send({"type": "websocket.send", "text": {"a": 1}})


class BadCode(Consumer):
    async def mistake(self) -> None:
        await self.close(7)


class AcceptsTwice(Consumer):
    async def mistake(self) -> None:
        await self.accept()


class SendsEarly(Consumer):
    async def connect(self) -> None:
        await self.send("too early")


class BadHeader(Consumer):
    async def connect(self) -> None:
        await self.accept(headers=[(b"x-room", b"a\r\nx-other: b")])


class RaisesInConnect(Consumer):
    async def connect(self) -> None:
        raise RuntimeError("as it was asked to")


class RaisesInDisconnect(Consumer):
    async def mistake(self) -> None:
        await self.close(4000)

    async def disconnect(self, code: int) -> None:
        raise RuntimeError("in disconnect")


class Middleware:
    """Raises, in every scope."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("token")


async def returns(scope: Any, receive: Any, send: Any) -> None: ...


async def returns_later(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def is_plain(scope: Any, receive: Any, send: Any) -> None: ...


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("as it was asked to")


async def begins_with_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.body", "body": b"x"})


async def breaks_a_header(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]})
    await send({"type": "http.response.body", "body": b"x"})


CONSUMERS = [
    UnknownType, PrivateType, NeedsArguments, Unserialisable, BadGroup, SyncBadGroup, BadChannel, NobodyThere,
    UnknownEvent, NoText, BadCode, AcceptsTwice, SendsEarly, BadHeader, RaisesInConnect, RaisesInDisconnect,
]  # fmt: skip
websockets: list[tuple[str, Any]] = [
    *((consumer.__name__, consumer.as_asgi()) for consumer in CONSUMERS),
    ("Middleware", Middleware(UnknownType.as_asgi())),
    ("returns", returns),
    ("returns_later", returns_later),
    ("is_plain", is_plain),
]
requests = [returns, is_plain, raises, begins_with_the_body, breaks_a_header]

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter([path(f"{name}/", one) for name, one in websockets]),
        "http": URLRouter([path(f"{one.__name__}/", one) for one in requests]),
    }
)
