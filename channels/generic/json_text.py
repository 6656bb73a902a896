"""`JsonWebsocketConsumer`: frames are JSON."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from ..message import DecoratedMessage
from .applying import Captured
from .base import named
from .plain import WebsocketConsumer
from .refusing import decode_text

Json: TypeAlias = Any
"""The content of a frame of JSON. Any, because an application knows its own frames, and says so where it overrides."""


class JsonWebsocketConsumer(WebsocketConsumer):
    """A `WebsocketConsumer` whose frames are JSON text, decoded and encoded on the way.

    A client that sends bytes is closed with 1003, one that sends other text with 1007; both are
    logged as a `ValueError`.
    """

    def raw_receive(self, message: DecoratedMessage, **kwargs: Captured) -> object:
        """Decode the frame, then `receive`."""
        return self.receive(decode_text(message, named(type(self)), self.decode_json), **kwargs)

    def receive(self, content: Json, **kwargs: Captured) -> object:  # type: ignore[override]
        """The client sent JSON; ``content`` is what it says."""

    def send(self, content: Json, close: bool | int = False) -> None:  # type: ignore[override]
        """Send content as JSON, and close the socket behind it if asked to."""
        super().send(text=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text: str) -> Json:
        """From text to content; raises `ValueError` for text that is not JSON."""
        return json.loads(text)

    @classmethod
    def encode_json(cls, content: Json) -> str:
        """From content to text."""
        return json.dumps(content)

    @classmethod
    def group_send(cls, name: str, content: Json, close: bool | int = False) -> None:  # type: ignore[override]
        """Send content as JSON to every socket of a group."""
        WebsocketConsumer.group_send(name, cls.encode_json(content), close=close)
