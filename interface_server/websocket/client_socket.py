"""The calls that a WebSocket connection makes on the server that holds its client's socket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..bridge.replies import Denial, Payload


class Socket(Protocol):
    """The client's side of a connection, as its server provides it. No call blocks.

    Attributes:
        outbox_bytes: that wait for the client.
        direct: where whole frames may be written past `send`, as long as the connection is open and `queued` is told
            of what waits; ``None`` where a message needs more than its frame.
    """

    @property
    def outbox_bytes(self) -> int: ...

    @property
    def direct(self) -> asyncio.WriteTransport | None: ...

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Complete the handshake, with further header fields."""

    def reject(self, status: int, denial: Denial | None = None) -> None:
        """Answer the handshake with an HTTP status, or with a whole response of the application's."""

    def send(self, payload: Payload) -> bool:
        """Queue a message; false if too much waits for this client already."""

    def queued(self, frame: bytes, waiting: int) -> bool:
        """Note a frame that was written to `direct`, and the bytes that wait now; false if those are too many."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the server sees to its end."""

    def pause(self) -> None:
        """Take no further messages from the client for now."""

    def resume(self) -> None:
        """Take messages again."""
