"""The addresses of the server beside a live test."""

from __future__ import annotations

from typing import ClassVar


class LiveAddresses:
    """A test case with a server that listens on a port.

    Attributes:
        host: where the server listens, and the host in the URLs. It is added to ALLOWED_HOSTS.
    """

    host: ClassVar[str] = "localhost"

    _port: int
    """Set by whoever starts the server, on the class or on the test."""

    @property
    def live_server_url(self) -> str:
        """Address of the server, without a slash at the end."""
        return f"http://{self.host}:{self._port}"

    @property
    def live_server_ws_url(self) -> str:
        """The same for WebSockets."""
        return f"ws://{self.host}:{self._port}"
