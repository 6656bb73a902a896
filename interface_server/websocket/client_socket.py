"""The calls that a WebSocket connection makes on the server that holds its client's socket."""

from __future__ import annotations

from typing import Protocol

from ..bridge.replies import Payload


class Socket(Protocol):
    """The client's side of a connection, as its server provides it. No call blocks."""

    def accept(self, subprotocol: str | None) -> None:
        """Complete the handshake."""

    def reject(self, status: int) -> None:
        """Answer the handshake with an HTTP status."""

    def send(self, payload: Payload) -> bool:
        """Queue a message; false if too much waits for this client already."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; the server sees to its end."""

    def pause(self) -> None:
        """Take no further messages from the client for now."""

    def resume(self) -> None:
        """Take messages again."""
