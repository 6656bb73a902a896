"""`channels.runtime.silent_routes`: routes that can never be taken."""

from __future__ import annotations

from typing import Any

import pytest

from channels.routing import include, route
from channels.runtime.silent_routes import silent_routes
from routing import Router


def consumer(message: Any, **kwargs: Any) -> None: ...


def found(*routing: Any) -> list[tuple[str | None, str, str | None]]:
    return [(warning.id, warning.msg, warning.hint) for warning in silent_routes("default", Router(list(routing)))]


@pytest.mark.parametrize(
    ("channel", "hint"),
    [
        ("websocket.recieve", "Did you mean 'websocket.receive'?"),
        ("websocket.disconect", "Did you mean 'websocket.disconnect'?"),
        ("http.requests", "Did you mean 'http.request'?"),
        ("http.x", "The channels are http.request, http.disconnect, websocket.connect, websocket.receive, "
         "websocket.disconnect."),
    ],
)  # fmt: skip
def test_a_channel_that_no_server_sends_to(channel: str, hint: str) -> None:
    [(kind, text, said)] = found(route(channel, consumer))
    assert (kind, said) == ("channels.W003", hint)
    assert text == f"CHANNEL_LAYERS['default']: a route listens on {channel!r}, to which no web server sends."


@pytest.mark.parametrize("path", ["^chat/$", "chat", r"^(?P<room>\w+)/$", r"(?P<room>[a-z]+)/", r"\Achat", "^[^/]+/$"])
def test_a_path_without_its_slash(path: str) -> None:
    [(kind, text, _)] = found(route("websocket.connect", consumer, path=path))
    assert kind == "channels.W004"
    assert f"path={path!r}, which matches no path" in text
    assert len(found(include([route("websocket.receive", consumer, path="^$")], path=path))) == 1


@pytest.mark.parametrize(
    "path",
    ["^/chat/$", "/chat", "", "^", ".*chat", "^(chat)?/x", "^c?/", "^c*/", "^(?:/a|b)", "b|/a", "[a-z/]+", "^.",
     r"^\S+$", "^(?:x){0,1}/"],
)  # fmt: skip
def test_what_can_match_or_is_hard_to_tell_has_no_warning(path: str) -> None:
    assert found(route("websocket.connect", consumer, path=path)) == []


def test_only_the_first_filter_begins_with_a_slash_and_only_on_channels_with_paths() -> None:
    assert found(include([route("websocket.receive", consumer, path="^chat/$")], path="^/")) == []
    assert found(route("jobs", consumer, path="^chat"), route("websocket.connect", consumer)) == []
