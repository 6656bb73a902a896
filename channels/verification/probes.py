"""Consumers of both generations that answer with what they were sent: what workers run during a verification."""

from __future__ import annotations

from channel_layer.channel import AnswerableMessage, Group
from channel_layer.messages import CONNECT, DISCONNECT, HTTP_REQUEST, RECEIVE

from ..generic.websocket import AsyncWebsocketConsumer
from ..routing import ProtocolTypeRouter, route

PATH = "/-/millrace-verify"
EVERYBODY = "millrace.verify"
WATCHERS = "millrace.verify.watchers"


def accept(message: AnswerableMessage) -> None:
    """A client whose frames come back."""
    message.reply_channel.send({"accept": True})


def join(message: AnswerableMessage) -> None:
    """A client that hears what any such client says."""
    message.reply_channel.send({"accept": True})
    Group(EVERYBODY).add(message.reply_channel)


def watch(message: AnswerableMessage) -> None:
    """A client that hears which others have left."""
    message.reply_channel.send({"accept": True})
    Group(WATCHERS).add(message.reply_channel)


def echo(message: AnswerableMessage) -> None:
    """Send a frame back."""
    message.reply_channel.send({"text": message["text"]})


def spread(message: AnswerableMessage) -> None:
    """Send a frame to everybody."""
    Group(EVERYBODY).send({"text": message["text"]})


def leave(message: AnswerableMessage) -> None:
    """Tell who has left."""
    Group(WATCHERS).send({"text": message["path"]})


def page(message: AnswerableMessage) -> None:
    """Answer a request."""
    message.reply_channel.send({"status": 200, "content": b"ok", "headers": [(b"Content-Type", b"text/plain")]})


routing = [
    route(CONNECT, accept, path=rf"^{PATH}/echo/"),
    route(CONNECT, join, path=rf"^{PATH}/group/"),
    route(CONNECT, watch, path=rf"^{PATH}/watch/"),
    route(RECEIVE, echo, path=rf"^{PATH}/(echo|watch)/"),
    route(RECEIVE, spread, path=rf"^{PATH}/group/"),
    route(DISCONNECT, leave, path=rf"^{PATH}/(echo|group|watch)/"),
    route(HTTP_REQUEST, page, path=rf"^{PATH}/page"),
]


class Counter(AsyncWebsocketConsumer):
    """Counts its frames on the instance: a count that begins anew is state that was lost."""

    count = 0

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send a frame back with its number."""
        self.count += 1
        await self.send(f"{text_data} {self.count}")

    async def disconnect(self, code: int) -> None:
        """Tell who has left."""
        await self.channel_layer.group_send(WATCHERS, {"text": self.scope["path"]})


application = ProtocolTypeRouter({"websocket": Counter.as_asgi()})
"""Takes the WebSockets that the routes leave over."""
