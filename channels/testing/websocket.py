"""A WebSocket client for tests of ASGI applications."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .application import ApplicationCommunicator, address


class WebsocketCommunicator(ApplicationCommunicator):
    """One WebSocket of an ASGI application.

    Args:
        application: the one to run.
        path: may have a query.
        headers: pairs of bytes.
        subprotocols: those that the client speaks.
        spec_version: of ASGI, to be put into the scope.

    Attributes:
        scope: may be added to before `connect`.
        response_headers: those that the application accepted with, once it has.
    """

    def __init__(
        self,
        application: object,
        path: str,
        headers: Iterable[tuple[bytes, bytes]] | None = None,
        subprotocols: Iterable[str] | None = None,
        spec_version: str | None = None,
    ) -> None:
        if not isinstance(path, str):
            raise TypeError(f"Expected str, got {type(path)}")
        self.response_headers: list[tuple[bytes, bytes]] | None = None
        scope = {
            "type": "websocket",
            **address(path),
            "headers": list(headers or ()),
            "subprotocols": list(subprotocols or ()),
        }
        super().__init__(application, scope if spec_version is None else {**scope, "spec_version": spec_version})

    async def connect(self, timeout: float = 1) -> tuple[bool, Any]:
        """Open the WebSocket.

        Args:
            timeout: seconds to wait for the answer.

        Returns:
            True and the subprotocol, or false and the close code.

        Raises:
            AssertionError: the application answered with something else.
            TimeoutError: it did not answer in time.
        """
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(timeout)
        if answer["type"] == "websocket.close":
            return False, answer.get("code", 1000)
        if answer["type"] != "websocket.accept":
            raise AssertionError(f"Expected type 'websocket.accept' or 'websocket.close', but was {answer['type']!r}")
        self.response_headers = answer.get("headers", [])
        return True, answer.get("subprotocol")

    async def send_to(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send a frame with text or bytes; raises `AssertionError` for both, none, or the wrong type."""
        if bool(text_data) == bool(bytes_data):
            raise AssertionError("You must supply exactly one of text_data or bytes_data")
        key, value, kind = ("text", text_data, str) if text_data else ("bytes", bytes_data, bytes)
        if not isinstance(value, kind):
            raise AssertionError(f"The {key}_data argument must be {kind.__name__}, it is {type(value).__name__}")
        await self.send_input({"type": "websocket.receive", key: value})

    async def send_json_to(self, data: object) -> None:
        """Send a value as JSON in a frame with text."""
        await self.send_to(text_data=json.dumps(data))

    async def receive_from(self, timeout: float = 1) -> Any:
        """Return what the next frame holds, text or bytes.

        Args:
            timeout: seconds to wait for it.

        Raises:
            AssertionError: the application sent something else, a close for example.
            TimeoutError: it sent nothing in time.
        """
        event = await self.receive_output(timeout)
        if event["type"] != "websocket.send":
            raise AssertionError(f"Expected type 'websocket.send', but was '{event['type']}'")
        # Servers take a key with None for one that is missing.
        present = [key for key in ("text", "bytes") if event.get(key) is not None]
        if len(present) != 1:
            raise AssertionError(f"The event needs exactly one of 'text' or 'bytes', it has {sorted(event)}")
        value = event[present[0]]
        expected = str if present == ["text"] else bytes
        if not isinstance(value, expected):
            raise AssertionError(f"The {present[0]} of the frame is not {expected.__name__}, it is {type(value)}")
        return value

    async def receive_json_from(self, timeout: float = 1) -> Any:
        """Return the value of the next frame, which holds JSON; see `receive_from`.

        Raises:
            AssertionError: it is not a text frame.
        """
        text = await self.receive_from(timeout)
        if not isinstance(text, str):
            raise AssertionError(f"JSON data is not a text frame, it is {type(text)}")
        return json.loads(text)

    async def disconnect(self, code: int = 1000, timeout: float = 1) -> None:
        """Close the WebSocket and wait for the application to end.

        Args:
            code: of the close.
            timeout: seconds to wait; then the application is cancelled.
        """
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(timeout)
