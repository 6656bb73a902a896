"""WebSocket clients for tests."""

from __future__ import annotations

from typing import Any

from websockets.sync import client
from websockets.sync.client import ClientConnection

OPEN_SECONDS = 60
"""Time for a handshake: ten seconds, the library's own limit, pass on a busy machine while nothing moves."""


def connect(uri: str, **options: Any) -> ClientConnection:
    """Open a WebSocket as the library does, with the patience that a test needs."""
    return client.connect(uri, **{"open_timeout": OPEN_SECONDS, **options})
