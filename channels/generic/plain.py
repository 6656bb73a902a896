"""`WebsocketConsumer`: one class for the life of a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from channel_layer.channel import Group
from channel_layer.messages import CONNECT, DISCONNECT, RECEIVE, SocketReply

from ..decorating import iscoroutinefunction
from ..message import DecoratedMessage
from .applying import (
    Captured,
    Handler,
    channel_and_http_session_user_from_http,
    channel_session_user_from_http,
    enforce_ordering,
)
from .base import BaseConsumer, named


class WebsocketConsumer(BaseConsumer):
    """Takes a WebSocket's `connect`, `receive` and `disconnect`; override those you need.

    Attributes:
        http_user: take over the user of the page that opened the socket; implies `channel_session_user`.
        http_user_and_session: the same, and give messages the page's ``http_session`` too.
        strict_ordering: run the socket's messages one after the other; connections that take turns do so
            anyway.
        groups: groups that a socket is in while it is connected, see `connection_groups`.
        path: the path that the socket was opened with.
    """

    method_mapping: ClassVar[Mapping[str, str]] = {
        CONNECT: "raw_connect",
        RECEIVE: "raw_receive",
        DISCONNECT: "raw_disconnect",
    }
    http_user: bool = False
    http_user_and_session: bool = False
    strict_ordering: bool = False
    groups: Iterable[str] | None = None

    def get_handler(self, message: DecoratedMessage, **kwargs: Captured) -> Handler:
        """The method for a message, with the decorators that the attributes ask for.

        Raises:
            ValueError: ``slight_ordering`` is set, which no longer exists.
        """
        if self.http_user or self.http_user_and_session:
            self.channel_session_user = True
        self.path = message["path"]
        handler = super().get_handler(message, **kwargs)
        if self.http_user_and_session:
            handler = channel_and_http_session_user_from_http(handler)
        elif self.http_user:
            handler = channel_session_user_from_http(handler)
        if self.strict_ordering:
            return enforce_ordering(handler)
        if getattr(self, "slight_ordering", False):
            raise ValueError(
                f"{named(type(self))}.slight_ordering no longer exists; remove it: connect comes first anyway"
            )
        return handler

    def connection_groups(self, **kwargs: Captured) -> Iterable[str]:
        """Names of the groups that a socket joins before `connect` and leaves before `disconnect`.

        Args:
            kwargs: what the route's filters captured.
        """
        return self.groups or []

    def raw_connect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Join the groups, then `connect`."""
        for group in self.__groups(kwargs):
            Group(group, channel_layer=message.channel_layer).add(message.reply_channel)
        return self.connect(message, **kwargs)

    def connect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """A client wants to connect; accepts it unless overridden."""
        self.message.reply_channel.send({"accept": True})
        return None

    def raw_receive(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Take the frame out of the message, then `receive`."""
        text = message.get("text")
        if text is not None:
            return self.receive(text=text, **kwargs)
        return self.receive(bytes=message["bytes"], **kwargs)

    def receive(self, text: str | None = None, bytes: bytes | None = None, **kwargs: Captured) -> object:
        """The client sent a frame, of text or of bytes."""

    def send(self, text: str | None = None, bytes: bytes | None = None, close: bool | int = False) -> None:
        """Send a frame to the client, and close the socket behind it if asked to.

        Raises:
            ValueError: neither text nor bytes.
        """
        self.message.reply_channel.send(_frame(text, bytes, close))

    @classmethod
    def group_send(
        cls, name: str, text: str | None = None, bytes: bytes | None = None, close: bool | int = False
    ) -> None:
        """Send a frame to every socket of a group; otherwise as `send`."""
        Group(name).send(_frame(text, bytes, close))

    def close(self, status: bool | int = True, reason: str = "") -> None:
        """Close the socket, with 1000 or a code; a handshake that waits is rejected.

        Args:
            status: ``True`` for 1000, or a code from 3000 to 4999.
            reason: what the client is told with it, at most 123 bytes of UTF-8.
        """
        reply: SocketReply = {"close": status}
        if reason:
            reply["reason"] = reason
        self.message.reply_channel.send(reply)

    def raw_disconnect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Leave the groups, then `disconnect`."""
        for group in self.__groups(kwargs):
            Group(group, channel_layer=message.channel_layer).discard(message.reply_channel)
        return self.disconnect(message, **kwargs)

    def disconnect(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """The socket is closed, by whomever."""

    def __groups(self, kwargs: dict[str, Captured]) -> Iterable[str]:
        groups = self.connection_groups(**kwargs)
        if isinstance(groups, str):
            raise TypeError(
                f"the groups of {named(type(self))} are a list of names, not the text {groups!r}; write [{groups!r}]"
            )
        return groups

    @classmethod
    def _channels_is_async(cls, channel: str) -> bool:
        plain = cls.method_mapping.get(channel, "").removeprefix("raw_")
        return super()._channels_is_async(channel) or iscoroutinefunction(getattr(cls, plain, None))

    @classmethod
    def _channels_blocks(cls, name: str) -> bool:
        return name != "raw_receive"  # which only looks at the message; the other two change groups


def _frame(text: str | None, data: bytes | None, close: bool | int) -> SocketReply:
    message: SocketReply = {}
    if close:
        message["close"] = close
    if text is not None:
        message["text"] = text
    elif data is not None:
        message["bytes"] = data
    else:
        raise ValueError("a frame is text or bytes; pass one of them to send(), or use close() to close only")
    return message
