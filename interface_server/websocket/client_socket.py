"""The calls that a WebSocket connection makes on the server that holds its client's socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..bridge.replies import Denial, Payload


class Socket(Protocol):
    """The client's side of a connection, as its server provides it. No call blocks.

    Attributes:
        outbox_bytes: that wait for the client.
    """

    @property
    def outbox_bytes(self) -> int: ...

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Complete the handshake, with further header fields."""

    def reject(self, status: int, denial: Denial | None = None) -> None:
        """Answer the handshake with an HTTP status, or with a whole response of the application's."""

    def send(self, payload: Payload) -> bool:
        """Queue a message; false if too much waits for this client already."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the server sees to its end."""

    def pause(self) -> None:
        """Take no further messages from the client for now."""

    def resume(self) -> None:
        """Take messages again."""
