"""Which consumer runs for which message. Requests have no route: Django's views answer them."""

from __future__ import annotations

from channels import route

from .consumers import echo, join, leave, send_to_all

channel_routing = [
    route("websocket.receive", echo, path=r"^/echo/$"),
    route("websocket.connect", join, path=r"^/group/$"),
    route("websocket.receive", send_to_all, path=r"^/group/$"),
    route("websocket.disconnect", leave, path=r"^/group/$"),
]
