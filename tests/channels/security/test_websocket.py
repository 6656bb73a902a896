"""`channels.security.websocket`."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator

from ..coroutines import drive

pytestmark = pytest.mark.usefixtures("no_layer")

CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1000}


def is_let_in(application: Any, origin: bytes | None) -> bool:
    headers = [] if origin is None else [(b"origin", origin)]
    answer = drive(application, CONNECT, DISCONNECT, headers=headers)[0]
    assert answer["type"] in ("websocket.accept", "websocket.close")
    return bool(answer["type"] == "websocket.accept")


@pytest.mark.parametrize(
    ("pattern", "origin", "let_in"),
    [
        ("example.com", b"http://example.com", True),
        ("example.com", b"https://EXAMPLE.com:8443", True),
        ("example.com", b"http://other.com", False),
        ("example.com", b"http://chat.example.com", False),
        (".example.com", b"http://chat.example.com", True),
        (".example.com", b"http://example.com", True),
        ("http://example.com", b"http://example.com:80", True),
        ("http://example.com", b"https://example.com", False),
        ("http://example.com", b"http://example.com:8080", False),
        ("https://.example.com:8443", b"https://chat.example.com:8443", True),
        ("wss://example.com:443", b"wss://example.com", True),
        ("https://example.com:*", b"https://example.com", True),
        ("https://example.com:*", b"https://example.com:8443", True),
        ("https://example.com:*", b"http://example.com:8443", False),
        ("http://[::1]:8000", b"http://[::1]:8000", True),
        ("http://[::1]:8000", b"http://[::1]", False),
        ("[::1]", b"http://[::1]:8000", True),
        ("ftp://example.com", b"ftp://example.com", True),
        ("*", b"http://anything", True),
        ("*", None, True),
        ("example.com", None, False),
        ("example.com", b"null", False),
        ("http://example.com", b"http://example.com:port", False),
        ("example.com", b"http://[", False),
    ],
)
def test_origins_are_matched(pattern: str, origin: bytes | None, let_in: bool) -> None:
    application = OriginValidator(AsyncWebsocketConsumer.as_asgi(), [pattern])
    assert is_let_in(application, origin) is let_in


def test_one_of_several_patterns_is_enough() -> None:
    application = OriginValidator(AsyncWebsocketConsumer.as_asgi(), ["other.com", "example.com"])
    assert is_let_in(application, b"http://example.com")


def test_only_websockets_have_origins() -> None:
    with pytest.raises(ValueError, match="non-WebSocket connection, which is of type 'http'"):
        drive(OriginValidator(AsyncWebsocketConsumer.as_asgi(), ["*"]), type="http")


@pytest.mark.parametrize(
    ("settings", "origin", "let_in"),
    [
        ({"ALLOWED_HOSTS": ["example.com"]}, b"http://example.com", True),
        ({"ALLOWED_HOSTS": ["example.com"]}, b"http://localhost", False),
        ({"ALLOWED_HOSTS": [], "DEBUG": True}, b"http://localhost:8000", True),
        ({"ALLOWED_HOSTS": [], "DEBUG": False}, b"http://localhost:8000", False),
    ],
)
def test_the_allowed_hosts_are_those_of_the_settings(settings: dict[str, Any], origin: bytes, let_in: bool) -> None:
    with override_settings(**settings):
        application = AllowedHostsOriginValidator(AsyncWebsocketConsumer.as_asgi())
        assert is_let_in(application, origin) is let_in
