"""`channels.staticfiles`: static files through workers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from channels.handler import ViewConsumer
from channels.staticfiles import StaticFilesConsumer, http_consumer

from .messages import replies, request


@pytest.fixture
def consumer() -> Any:
    return StaticFilesConsumer()


def answer(consumer: Any, layer: Any, path: str) -> tuple[int, bytes]:
    consumer(request(layer, path))
    found = replies(layer)
    return found[0]["status"], b"".join(message["content"] for message in found)


def test_a_file_below_static_url(consumer: Any, layer: Any) -> None:
    assert answer(consumer, layer, "/static/hello.txt") == (200, b"Hello from a file\n")


def test_a_file_that_is_not_there(consumer: Any, layer: Any) -> None:
    assert answer(consumer, layer, "/static/nothing.txt")[0] == 404
    assert answer(consumer, layer, "/static/../settings.py")[0] == 400  # it leads out of the directory


def test_everything_else_is_a_view(consumer: Any, layer: Any) -> None:
    assert answer(consumer, layer, "/hello/") == (200, b"Hello, World")


@pytest.mark.parametrize(
    ("debug", "static", "insecure", "expected"),
    [
        (True, True, False, StaticFilesConsumer),
        (False, True, False, ViewConsumer),
        (True, False, True, ViewConsumer),
        (False, True, True, StaticFilesConsumer),
    ],
)
def test_commands_serve_them_when_asked_and_debug_is_on(
    debug: bool, static: bool, insecure: bool, expected: type
) -> None:
    with override_settings(DEBUG=debug):
        assert type(http_consumer(static, insecure)) is expected


def test_without_the_application_they_are_not_served() -> None:
    with override_settings(DEBUG=True, INSTALLED_APPS=["channels"]):
        assert type(http_consumer()) is ViewConsumer
