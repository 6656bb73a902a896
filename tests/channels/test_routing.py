"""`channels.routing`: the routing room under the names applications import."""

from __future__ import annotations

from typing import Any

import channels
import channels.routing
import routing

from .messages import websocket


def test_everything_is_the_routing_rooms() -> None:
    for name in channels.routing.__all__:
        assert getattr(channels.routing, name) is getattr(routing, name)


def test_the_package_has_what_projects_import_from_it() -> None:
    for name in ("route", "route_class", "include"):
        assert getattr(channels, name) is getattr(channels.routing, name)


def test_real_messages_are_matched(layer: Any) -> None:
    def consumer(message: Any, room: str) -> None: ...

    router = channels.routing.Router([channels.route("websocket.connect", consumer, path=r"^/(?P<room>\w+)/")])
    assert router.match(websocket(layer)) == (consumer, {"room": "chat"})
    assert router.match(websocket(layer, "receive")) is None
