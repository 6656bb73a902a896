"""`channels.runtime.surroundings`: what code sets for itself ends with its message, in workers and in tests."""

from __future__ import annotations

import contextlib
import decimal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import override_settings
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation

from channels import route
from channels.runtime.hooks import DjangoHook
from channels.runtime.sync_threads import SyncThreads
from channels.signals import consumer_finished
from channels.test import Client, apply_routes
from routing import Router
from tests.conftest import wait_until

from ...workers.tools import working

DEFAULTS = ["en-us", settings.TIME_ZONE, None, "/", 28]
Ask = Callable[..., list[Any]]


def found() -> list[Any]:
    """What is active."""
    names = [translation.get_language(), timezone.get_current_timezone_name()]
    return [*names, get_urlconf(), get_script_prefix(), decimal.getcontext().prec]


def leave(*args: Any, **kwargs: Any) -> None:
    """Activate everything that a view or a middleware may, and leave it so."""
    translation.activate("cs")
    timezone.activate("Europe/Prague")
    set_urlconf("tests.channels.urls")
    set_script_prefix("/left/")
    decimal.getcontext().prec = 3


def look(message: Any) -> None:
    message.reply_channel.send({"found": found()})
    leave()


async def async_look(message: Any) -> None:
    in_thread = await sync_to_async(found)()
    await message.reply_channel.asend({"found": found() if in_thread == found() else in_thread})
    await sync_to_async(leave)()
    leave()


ROUTES = [route("look", look), route("async_look", async_look)]


@contextlib.contextmanager
def worker(layer: Any) -> Iterator[Ask]:
    """Has consumers run by a worker of one thread."""

    def ask(channel: str, content: dict[str, Any] | None = None) -> list[Any]:
        layer.send(channel, {"reply_channel": "answer", **(content or {})})
        return list(wait_until(lambda: layer.receive(["answer"])[1], "an answer")["found"])

    side = SyncThreads(1)
    with working(layer, Router(ROUTES), threads=1, hooks=[DjangoHook()], sync_side=side):
        yield ask


@contextlib.contextmanager
def client(layer: Any) -> Iterator[Ask]:
    """Has consumers run by a test's client."""
    client = Client()

    def ask(channel: str, content: dict[str, Any] | None = None) -> list[Any]:
        client.send_and_consume(channel, content)
        return list(client.receive()["found"])

    with apply_routes(ROUTES):
        yield ask
        assert found() == DEFAULTS


@pytest.mark.parametrize("running", [worker, client])
class TestMessages:
    def test_none_is_left_what_another_set(self, layer: Any, running: Any) -> None:
        with running(layer) as ask:
            for channel in ("look", "look", "async_look", "async_look", "look"):
                assert ask(channel) == DEFAULTS

    def test_nor_what_a_receiver_of_a_signal_set(self, layer: Any, running: Any) -> None:
        consumer_finished.connect(leave)
        try:
            with running(layer) as ask:
                assert [ask("look"), ask("async_look"), ask("look")] == [DEFAULTS] * 3
        finally:
            consumer_finished.disconnect(leave)

    @pytest.mark.parametrize("channel", ["look", "async_look"])
    def test_urls_begin_with_where_the_application_is_mounted(self, layer: Any, running: Any, channel: str) -> None:
        with running(layer) as ask:
            assert ask(channel, {"root_path": "/app"})[3] == "/app/"
            assert ask(channel)[3] == "/"
            assert ask(channel, {"root_path": 7})[3] == "/"
            with override_settings(FORCE_SCRIPT_NAME="/forced/"):
                assert ask(channel, {"root_path": "/app"})[3] == "/forced/"
                assert ask(channel)[3] == "/forced/"
