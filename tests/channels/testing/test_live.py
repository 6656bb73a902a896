"""`channels.testing.live`: a server beside the test that runs the project's application."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings
from websockets.sync.client import connect

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from channels.testing import ChannelsLiveServerTestCase


class CountingConsumer(AsyncWebsocketConsumer):
    """Sends how many users there are."""

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        count = await database_sync_to_async(User.objects.filter(username=text_data).count)()
        await self.send(str(count))


application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": CountingConsumer.as_asgi()})


def fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@override_settings(ASGI_APPLICATION=f"{__name__}.application")
class LiveTests(ChannelsLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        asyncio.run(sync_to_async(int)())  # the server is forked from a process whose sync code has a thread
        super().setUpClass()

    def test_the_server_sees_what_the_test_put_into_the_database(self) -> None:
        User.objects.create(username="somebody")
        with connect(f"{self.live_server_ws_url}/") as socket:
            socket.send("somebody")
            assert socket.recv() == "1"

    def test_pages_and_static_files(self) -> None:
        assert fetch(f"{self.live_server_url}/no/such/page")[0] == 404
        status, body = fetch(f"{self.live_server_url}/static/channels/js/websocketbridge.js")
        assert status == 200
        assert b"WebSocketBridge" in body


def run_class(case: Any) -> None:
    try:
        case.setUpClass()
    finally:
        case.doClassCleanups()


@override_settings(ASGI_APPLICATION="no_such.application")
def test_a_server_that_does_not_start_says_why() -> None:
    class Broken(ChannelsLiveServerTestCase):
        pass

    with pytest.raises(RuntimeError, match=r"the server did not start:\n(.|\n)*Cannot import ASGI_APPLICATION module"):
        run_class(Broken)


def test_a_database_in_memory_is_refused() -> None:
    class InMemory(ChannelsLiveServerTestCase):
        pass

    with (
        mock.patch.object(connections["default"], "is_in_memory_db", return_value=True),
        pytest.raises(ImproperlyConfigured, match="InMemory needs databases that another process sees"),
    ):
        run_class(InMemory)
