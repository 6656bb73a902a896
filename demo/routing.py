"""Channels of the demonstration project: which consumer runs for which message."""

from __future__ import annotations

from channels.routing import include

channel_routing = [
    include("demo.chat.routing.channel_routing", path=r"^/chat"),
]
