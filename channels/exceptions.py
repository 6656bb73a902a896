"""Exceptions that consumers and views raise, or that are raised in them.

::

    ChannelsException
    ├── ConsumeLater                        deliver this message again, behind the others
    ├── ChannelSocketException              do something instead of failing: ``run(message)``
    │   ├── DenyConnection                  reject the WebSocket that wants to connect
    │   └── WebsocketCloseException         close the WebSocket with a code
    ├── ResponseLater                       somebody else answers this request
    ├── RequestAborted                      the client went away before its request was complete
    │   └── RequestTimeout                  the rest of a request's body did not come in time
    ├── AcceptConnection                    accept the WebSocket that wants to connect (Channels 2 to 4)
    ├── StopConsumer                        end this consumer's instance (Channels 2 to 4)
    ├── SessionTooLarge (ValueError)        a channel session that its connection cannot carry
    ├── SessionUnavailable                  a channel session whose connection is gone
    └── SendNotAvailableOnDemultiplexer     send through a multiplexer instead

Here too, under the names of Channels 4: `ChannelFull` and `MessageTooLarge` of `channel_layer.exceptions`, and
`InvalidChannelLayerError` of ``channels.layers``.
"""

from __future__ import annotations

from typing import ClassVar

import workers.exceptions
from channel_layer.channel import Message
from channel_layer.exceptions import ChannelFull, MessageTooLarge
from channel_layer.messages import CONNECT, SocketReply

from .backends import InvalidChannelLayerError

__all__ = [
    "AcceptConnection",
    "ChannelFull",
    "ChannelSocketException",
    "ChannelsException",
    "ConsumeLater",
    "DenyConnection",
    "InvalidChannelLayerError",
    "MessageTooLarge",
    "RequestAborted",
    "RequestTimeout",
    "ResponseLater",
    "SendNotAvailableOnDemultiplexer",
    "SessionTooLarge",
    "SessionUnavailable",
    "StopConsumer",
    "WebsocketCloseException",
]

MIN_APPLICATION_CODE, MAX_APPLICATION_CODE = 3000, 4999
"""Close codes that applications may choose (RFC 6455, 7.4.2), besides 1000."""


class ChannelsException(Exception):
    """Base class of everything here."""


class ConsumeLater(ChannelsException, workers.exceptions.ConsumeLater):
    """The message cannot be dealt with yet: it goes to the back of its channel, ten times at most.

    What the consumer had queued to send is dropped.
    """


class ChannelSocketException(ChannelsException, workers.exceptions.ChannelSocketException):
    """Ends the consumer without an error; the worker calls `run`."""


class DenyConnection(ChannelSocketException):
    """Rejects the WebSocket of a ``websocket.connect``: its client gets HTTP 403.

    What the consumer had queued to send is dropped, because text sent to a socket that has not been
    accepted would accept it. Raised in ``connect`` of a consumer of `channels.generic.websocket`, it closes the socket
    before it is open, which is the same for the client.
    """

    keeps_sends: ClassVar[bool] = False

    def run(self, message: Message) -> None:
        """Send the rejection; raises `ValueError` for a message that is not a ``websocket.connect``."""
        if message.channel.name != CONNECT:
            raise ValueError(
                f"DenyConnection was raised for a message on {message.channel.name!r}; it can only reject a "
                f"{CONNECT!r}. Raise WebsocketCloseException to close a socket that is open."
            )
        message.reply_channel.send({"accept": False})  # type: ignore[union-attr]  # a WebSocket has one


class WebsocketCloseException(ChannelSocketException):
    """Closes the WebSocket that the message came from, behind what was sent to it before.

    Args:
        code: 1000, or 3000 to 4999.
        reason: what the client is told with it, at most 123 bytes of UTF-8.

    Raises:
        ValueError: an application may not send that code (RFC 6455, 7.4).
    """

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        code = 1000 if code is None else code
        if type(code) is not int or not (code == 1000 or MIN_APPLICATION_CODE <= code <= MAX_APPLICATION_CODE):
            raise ValueError(f"a WebSocket is closed with code 1000 or 3000 to 4999, not {code!r}")
        self.code = code
        self.reason = reason
        super().__init__(code, reason)

    def run(self, message: Message) -> None:
        """Send the close."""
        reply: SocketReply = {"close": self.code}
        if self.reason:
            reply["reason"] = self.reason
        message.reply_channel.send(reply)  # type: ignore[union-attr]  # a WebSocket has one


class ResponseLater(ChannelsException):
    """Raised by a view: no response now, somebody will send one to ``request.reply_channel``."""


class RequestAborted(ChannelsException):
    """The client went away before its request was complete; nobody is there for a response."""


class RequestTimeout(RequestAborted):
    """The rest of a request's body did not arrive in time; the client gets 408."""


class AcceptConnection(ChannelsException):
    """Accepts the WebSocket, raised in ``connect`` of a consumer of `channels.generic.websocket`."""


class StopConsumer(ChannelsException):
    """Ends an instance of a consumer of `channels.consumer`, raised in one of its handlers."""


class SessionTooLarge(ChannelsException, ValueError):
    """A channel session has grown beyond what its connection carries.

    Args:
        size: bytes of the encoded session.
        limit: bytes allowed.
    """

    def __init__(self, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(size, limit)

    def __str__(self) -> str:
        return (
            f"the channel session has {self.size} bytes, its connection carries {self.limit}. Keep large data in the "
            "database and its key in the session, or set CHANNEL_SESSION_STORE = 'database'."
        )


class SessionUnavailable(ChannelsException):
    """A channel session that its connection keeps, and the connection cannot be asked for it.

    Args:
        reply_channel: of the connection.
        reason: why.
    """

    def __init__(self, reply_channel: str, reason: str) -> None:
        self.reply_channel, self.reason = reply_channel, reason
        super().__init__(reply_channel, reason)

    def __str__(self) -> str:
        return (
            f"there is no channel session of {self.reply_channel}: {self.reason}, and its session is kept there. Set "
            "CHANNEL_SESSION_STORE = 'database' for sessions that outlive their connections."
        )


class SendNotAvailableOnDemultiplexer(ChannelsException):
    """A demultiplexer's own ``send`` was used; its streams have multiplexers to send through."""
