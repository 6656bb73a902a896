"""Channels of the demonstration project: which consumer runs for which message."""

from __future__ import annotations

from channels.routing import include

channel_routing = [
    include("demo.chat.routing.channel_routing", path=r"^/chat"),
    include("demo.prices.routing.channel_routing", path=r"^/prices"),
    include("demo.documents.routing.channel_routing", path=r"^/documents"),
    include("demo.processes.routing.channel_routing", path=r"^/processes"),
]
