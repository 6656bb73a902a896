"""`JsonWebsocketConsumer`: frames are JSON."""

from __future__ import annotations

import json
from typing import Any

from .base import named
from .plain import WebsocketConsumer
from .refusing import decode_text


class JsonWebsocketConsumer(WebsocketConsumer):
    """A `WebsocketConsumer` whose frames are JSON text, decoded and encoded on the way.

    A client that sends bytes is closed with 1003, one that sends other text with 1007; both are
    logged as a `ValueError`.
    """

    def raw_receive(self, message: Any, **kwargs: Any) -> Any:
        """Decode the frame, then `receive`."""
        return self.receive(decode_text(message, named(type(self)), self.decode_json), **kwargs)

    def receive(self, content: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """The client sent JSON; ``content`` is what it says."""

    def send(self, content: Any, close: bool | int = False) -> None:  # type: ignore[override]
        """Send content as JSON, and close the socket behind it if asked to."""
        super().send(text=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text: str) -> Any:
        """From text to content; raises `ValueError` for text that is not JSON."""
        return json.loads(text)

    @classmethod
    def encode_json(cls, content: Any) -> str:
        """From content to text."""
        return json.dumps(content)

    @classmethod
    def group_send(cls, name: str, content: Any, close: bool | int = False) -> None:  # type: ignore[override]
        """Send content as JSON to every socket of a group."""
        WebsocketConsumer.group_send(name, cls.encode_json(content), close=close)
