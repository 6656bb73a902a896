"""`channels.runtime.unrouted`: sockets without a route while DEBUG."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import override_settings

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from channels.configured_layers import ChannelLayerWrapper
from channels.exceptions import DenyConnection
from channels.routing import include, route


def consumer(message: Any, **kwargs: Any) -> None: ...


ROUTING = [
    route("websocket.connect", consumer, path=r"^/chat/$"),
    include([route("websocket.receive", consumer, path=r"^/frames/$", text="^{")], path=r"^/in"),
    route("websocket.disconnect", consumer, path=r"^/end/$"),
    route("jobs", consumer),
]


def connect(path: str, routing: Any = ROUTING) -> dict[str, Any] | None:
    """What a socket to a path is answered; raises `DenyConnection`."""
    layer = MemoryChannelLayer()
    message = Message({"reply_channel": "reply", "path": path}, "websocket.connect", layer)
    found, kwargs = ChannelLayerWrapper(layer, "default", routing).router.match(message)  # type: ignore[misc]
    found(message, **kwargs)
    return layer.receive(["reply"])[1]


@pytest.mark.parametrize("path", ["/in/frames/", "/end/"])
def test_a_socket_of_which_a_route_takes_something_is_accepted(path: str) -> None:
    with override_settings(DEBUG=True):
        assert connect(path) == {"accept": True}
        assert connect("/chat/") is None
        assert connect("/anything", [route("websocket.receive", consumer)]) == {"accept": True}


@pytest.mark.parametrize("path", ["/chatt/", "/in/", "/frames/", ""])
def test_another_is_refused_with_a_line_that_lists_the_routes(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(DEBUG=True), pytest.raises(DenyConnection), caplog.at_level(logging.WARNING):
        connect(path)
    assert caplog.messages == [
        f"no route is for a WebSocket to {path}, so it is refused, and would be accepted without DEBUG; there is "
        "websocket.connect path='^/chat/$', websocket.receive path='^/in ^/frames/$', "
        "websocket.disconnect path='^/end/$'"
    ]


def test_a_project_without_any_route_for_sockets_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(DEBUG=True), pytest.raises(DenyConnection):
        connect("/", [])
    assert "there is no route for websocket.connect or websocket.receive at all" in caplog.text


def test_without_debug_it_is_accepted() -> None:
    assert connect("/chatt/") == {"accept": True}
