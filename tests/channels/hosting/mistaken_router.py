"""A module that cannot be imported: what is behind a protocol is no application."""

from __future__ import annotations

from channels.routing import ProtocolTypeRouter

application = ProtocolTypeRouter({"websocket": 7})
