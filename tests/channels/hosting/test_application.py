"""The application that the settings name."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from channels.consumer import AsyncConsumer
from channels.hosting.application import hosted_application
from channels.routing import ProtocolTypeRouter

number = 7


def wsgi(environ: Any, start_response: Any) -> None: ...


class Consumer(AsyncConsumer): ...


async def plain(scope: Any, receive: Any, send: Any) -> None: ...


routed = ProtocolTypeRouter({"websocket": plain, "http": get_asgi_application()})
living = ProtocolTypeRouter({"http": get_asgi_application(), "lifespan": plain})
django_alone = get_asgi_application()
http_alone = ProtocolTypeRouter({"http": plain})


def found(name: str | None, protocol: str) -> Any:
    path = None if name is None else name if "." in name else f"{__name__}.{name}"
    with override_settings(ASGI_APPLICATION=path):
        return hosted_application(protocol)


@pytest.mark.parametrize(
    ("name", "hosted"),
    [
        (None, []),
        ("plain", ["websocket", "http", "lifespan"]),
        ("routed", ["websocket"]),
        ("living", ["lifespan"]),
        ("django_alone", []),
        ("http_alone", ["http"]),
    ],
)
def test_what_is_hosted_and_what_django_takes_alone(name: str | None, hosted: list[str]) -> None:
    assert [protocol for protocol in ("websocket", "http", "lifespan") if found(name, protocol) is not None] == hosted


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.asgi.application", "'nowhere.asgi.application', which cannot be imported: No module named 'nowhere'"),
        ("missing", r"missing', which cannot be imported: Module .* does not define"),
        ("number", "number', a int and no ASGI application: it cannot be called"),
        ("wsgi", r"wsgi', which cannot be called with \(scope, receive, send\)"),
        ("tests.channels.hosting.mistaken_router.application", "an ASGI application is a callable .*, not 7"),
    ],
)
def test_a_wrong_setting_is_named(name: str, complaint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=complaint):
        found(name, "websocket")


def test_a_path_is_text() -> None:
    with override_settings(ASGI_APPLICATION=7), pytest.raises(ImproperlyConfigured, match=r"the dotted path .*, not 7"):
        hosted_application("websocket")


def test_a_consumer_without_as_asgi_is_taken_as_channels_2_took_it() -> None:
    with pytest.warns(DeprecationWarning, match=r"write Consumer.as_asgi\(\)"):
        assert found("Consumer", "websocket").consumer_class is Consumer
