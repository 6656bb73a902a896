"""Channels of the processes, below the path they are included at."""

from __future__ import annotations

from channels.routing import route
from demo.processes.consumers import connect, receive

channel_routing = [
    route("websocket.connect", connect, path=r"^/$"),
    route("websocket.receive", receive),
]
