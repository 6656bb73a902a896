"""Channels of the chat, below the path it is included at."""

from __future__ import annotations

from channels.routing import route
from demo.chat.consumers import connect, disconnect, receive
from demo.chat.models import SLUG

channel_routing = [
    route("websocket.connect", connect, path=rf"^/(?P<slug>{SLUG})/$"),
    route("websocket.receive", receive),
    route("websocket.disconnect", disconnect),
]
