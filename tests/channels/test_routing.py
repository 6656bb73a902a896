"""`channels.routing`: the routing room under the names applications import."""

from __future__ import annotations

from typing import Any

import channels
import channels.routing
import routing

from .messages import websocket


def test_everything_is_the_routing_rooms() -> None:
    for name in routing.__all__:
        if name != "passes_arguments":
            assert getattr(channels.routing, name) is getattr(routing, name)


def test_the_default_consumers_have_their_names(layer: Any) -> None:
    assert channels.routing.null_consumer(websocket(layer), 1, room="x") is None  # type: ignore[func-returns-value]
    message = websocket(layer)
    channels.routing.connect_consumer(message, room="x")
    assert layer.receive([message.reply_channel.name.partition("!")[0] + "!"])[1] == {"accept": True}


def test_the_package_has_what_projects_import_from_it() -> None:
    for name in ("route", "route_class", "include"):
        assert getattr(channels, name) is getattr(channels.routing, name)


def test_real_messages_are_matched(layer: Any) -> None:
    def consumer(message: Any, room: str) -> None: ...

    router = channels.routing.Router([channels.route("websocket.connect", consumer, path=r"^/(?P<room>\w+)/")])
    assert router.match(websocket(layer)) == (consumer, {"room": "chat"})
    assert router.match(websocket(layer, "receive")) is None
