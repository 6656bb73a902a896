"""Content of the messages that interface servers, workers and applications exchange, one type for each.

Types for checkers only: whoever receives a message that another program, or an application, has sent still checks it.
The tables in docs/reference/messages.md say what the keys mean.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Final, NotRequired, TypeAlias, TypedDict

HTTP_REQUEST: Final = "http.request"
HTTP_DISCONNECT: Final = "http.disconnect"
BODY_PATTERN: Final = "http.request.body?"
FLOW_PATTERN: Final = "http.response.flow?"
CONNECT: Final = "websocket.connect"
RECEIVE: Final = "websocket.receive"
DISCONNECT: Final = "websocket.disconnect"
RESUME: Final = "websocket.resume"
"""For a worker that makes an application again that another has let go of; nothing of Channels 1 listens there."""

SERVED: Final = (HTTP_REQUEST, HTTP_DISCONNECT, CONNECT, RECEIVE, DISCONNECT)
"""The channels with a fixed name to which an interface server sends messages for consumers of Channels 1."""

Pairs: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields, name and value. Behind a layer each pair is a list."""

Address: TypeAlias = Sequence[str | int | None]
"""Host and port."""


class ConnectionMessage(TypedDict):
    """Keys of ``http.request`` and ``websocket.connect`` that describe their connection."""

    reply_channel: str
    scheme: str
    path: str
    query_string: bytes
    root_path: str
    headers: Pairs
    client: Address | None
    server: Address | None


class RequestMessage(ConnectionMessage):
    """``http.request``."""

    http_version: str
    method: str
    body: bytes | bytearray
    body_channel: NotRequired[str]


class RequestBodyMessage(TypedDict):
    """``http.request.body?…``."""

    content: bytes | bytearray
    closed: bool
    more_content: bool
    length: NotRequired[int]


class ResponseChunk(TypedDict, total=False):
    """A message of a response behind the first."""

    content: bytes | memoryview
    more_content: bool
    closed: bool


class ResponseMessage(ResponseChunk):
    """The first message of a response."""

    status: int
    headers: Pairs


class ResponseReport(TypedDict, total=False):
    """``http.response.flow?…``, or where the header ``flow`` says: the progress of a response."""

    written: int
    closed: bool


class RequestEndMessage(TypedDict):
    """``http.disconnect``."""

    reply_channel: str
    path: str


class ConnectMessage(ConnectionMessage):
    """``websocket.connect``."""

    order: int


class ReceiveMessage(TypedDict):
    """``websocket.receive``, with either ``text`` or ``bytes``."""

    reply_channel: str
    path: str
    order: int
    text: NotRequired[str]
    bytes: NotRequired[builtins.bytes]


class DisconnectMessage(TypedDict):
    """``websocket.disconnect``."""

    reply_channel: str
    path: str
    order: int
    code: int
    reason: NotRequired[str]


class SocketReply(TypedDict, total=False):
    """A message to the reply channel of a WebSocket."""

    accept: bool
    headers: Pairs
    status: int
    content: builtins.bytes
    text: str
    bytes: builtins.bytes
    close: bool | int
    reason: str
    subprotocol: str


class DelayMessage(TypedDict):
    """``asgi.delay``."""

    channel: str
    content: Mapping[str, object]
    delay: float
