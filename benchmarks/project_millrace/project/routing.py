"""Routes from messages to consumers. Requests have none: Django's views answer them."""

from __future__ import annotations

from channels import route

from .consumers import echo, join, leave, send_to_all
from .studies import echo_bytes, join_when_asked, slow

channel_routing = [
    route("websocket.receive", echo, path=r"^/echo/$"),
    route("websocket.connect", join, path=r"^/group/$"),
    route("websocket.receive", send_to_all, path=r"^/group/$"),
    route("websocket.disconnect", leave, path=r"^/group/$"),
    route("websocket.receive", slow, path=r"^/slow/$"),
    route("websocket.receive", join_when_asked, path=r"^/join/$"),
    route("websocket.receive", echo_bytes, path=r"^/bytes/$"),
]
