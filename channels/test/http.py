"""`HttpClient`, the name that `WSClient` had before Channels 1.1."""

from __future__ import annotations

from .websocket import WSClient

HttpClient = WSClient

__all__ = ["HttpClient"]
