"""Channels of the prices, below the path they are included at."""

from __future__ import annotations

from channels.routing import route
from demo.prices.consumers import connect, disconnect, receive
from demo.prices.models import Coin

channel_routing = [
    route("websocket.connect", connect, path=rf"^/(?P<coin>{'|'.join(Coin.values)})/$"),
    route("websocket.receive", receive),
    route("websocket.disconnect", disconnect),
]
