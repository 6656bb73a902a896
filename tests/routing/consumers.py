"""Consumers and routings that the routing tests name by dotted path."""

from __future__ import annotations

from typing import Any

from routing import include, route


def plain(message: Any) -> None: ...


def in_room(message: Any, room: str) -> None: ...


def anything(message: Any, **kwargs: str) -> None: ...


async def later(message: Any, room: str) -> None: ...


class ByChannel:
    """A class-based consumer as far as routing is concerned."""

    def __init__(self, message: Any, **kwargs: Any) -> None: ...

    @classmethod
    def channel_names(cls) -> set[str]:
        return {"websocket.connect", "websocket.receive"}

    @staticmethod
    def inner(message: Any) -> None: ...


not_callable = 5

as_list = [route("websocket.receive", plain)]
as_dict = {"websocket.receive": plain, "http.request": "tests.routing.consumers.anything"}
as_text = "tests.routing.consumers.as_list"
rooms = [
    route("websocket.receive", in_room, path=r"^/(?P<room>[a-z]+)/$"),
    route("websocket.receive", anything, path=r"^/$"),
]
circle = [include("tests.routing.consumers.circle")]
