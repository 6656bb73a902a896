"""Class-based consumers for WebSockets."""

from __future__ import annotations

from .json_text import JsonWebsocketConsumer
from .multiplexing import WebsocketDemultiplexer, WebsocketMultiplexer
from .plain import WebsocketConsumer

__all__ = ["JsonWebsocketConsumer", "WebsocketConsumer", "WebsocketDemultiplexer", "WebsocketMultiplexer"]
