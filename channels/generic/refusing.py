"""Refusal of a frame that a consumer cannot use: its client is closed, its developer is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

from asgiref.sync import sync_to_async

from channel_layer.channel import Message
from channel_layer.exceptions import ChannelLayerError
from channel_layer.messages import CONNECT, RECEIVE
from interface_server.logs.server_log import printable

UNSUPPORTED = 1003
"""Close code for bytes where text is expected (RFC 6455, 7.4.1)."""

UNUSABLE = 1007
"""Close code for text that is not what is expected: no JSON, no frame of a demultiplexer."""

INTERNAL = 1011
"""Close code for a consumer that cannot work."""

_CODE = "_close_code"

T = TypeVar("T")

logger = logging.getLogger("channels.generic")


class BadFrame(ValueError):
    """A client sent a frame that its consumer cannot use; the text says who, what and why."""


def refuse(message: Message, code: int, error: Exception) -> NoReturn:
    """Close the WebSocket that a message came from and raise an error.

    On an event loop, which must not wait for the layer, it only raises; the consumer's class then calls
    `aclose_refused`.
    """
    if _on_event_loop():
        vars(error)[_CODE] = code
    else:
        _close(message, code)
    raise error


async def aclose_refused(message: Message, error: BaseException) -> None:
    """Close the WebSocket that a message came from if `refuse` raised the error on an event loop."""
    code = vars(error).pop(_CODE, None)
    if code is not None:
        await sync_to_async(_close)(message, code)


def _close(message: Message, code: int) -> None:
    """Send a close at once, because what a consumer has queued is dropped when it raises.

    While the handshake waits it is a rejection. Nothing is sent for a socket that is gone, or for messages
    of another kind.
    """
    if message.reply_channel is not None and message.channel.name in (CONNECT, RECEIVE):
        try:
            message.reply_channel.send({"close": code}, immediately=True)
        except ChannelLayerError:
            logger.exception("the WebSocket %s could not be closed", printable(message.get("path")))


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def decode_text(message: Message, who: str, decode: Callable[[str], T]) -> T:
    """Decode the JSON text of a ``websocket.receive``.

    Args:
        message: the message.
        who: the consumer, for the error.
        decode: from text to content; raises `ValueError` for text that is not JSON.

    Raises:
        BadFrame: there is no text, or it is not JSON. The socket gets closed, with 1003 or 1007.
    """
    text = message.get("text")
    path = printable(message.get("path"))
    if text is None:
        refuse(message, UNSUPPORTED, BadFrame(f"{who} on {path} takes JSON as text, and got a frame without text"))
    try:
        return decode(text)
    except (ValueError, RecursionError) as error:
        reason = BadFrame(f"{who} on {path} takes JSON, and got {printable(text, 80)!r}: {printable(error)}")
    refuse(message, UNUSABLE, reason)
