"""Class-based consumers under the test client, as the tests of an application for Channels 1 use them."""

from __future__ import annotations

from typing import Any

import pytest

from channels import route_class
from channels.exceptions import SendNotAvailableOnDemultiplexer
from channels.generic import BaseConsumer, websockets
from channels.test import ChannelTestCase, Client, WSClient, apply_routes


class Later(websockets.WebsocketConsumer):
    async def connect(self, message: Any, **kwargs: Any) -> None:
        self.connected = kwargs
        super().connect(message, **kwargs)
        self.send(text="here")


class GenericTests(ChannelTestCase):
    def test_the_names_are_where_they_were(self) -> None:
        for name in ("WebsocketConsumer", "JsonWebsocketConsumer", "WebsocketDemultiplexer", "WebsocketMultiplexer"):
            assert name in websockets.__all__

    def test_the_client_gives_the_consumer_back(self) -> None:
        class Consumer(BaseConsumer):
            method_mapping = {"test.create": "create", "test.test": "test"}

            def create(self, message: Any, **kwargs: Any) -> None:
                self.called = "create"

            def test(self, message: Any, **kwargs: Any) -> None:
                self.called = "test"

        with apply_routes([route_class(Consumer)]):
            client = Client()
            assert client.send_and_consume("test.create").called == "create"
            assert client.send_and_consume("test.test").called == "test"

    def test_an_async_consumer_comes_back_too(self) -> None:
        with apply_routes([Later.as_route(path=r"^/(?P<room>\w+)/")]):
            client = WSClient()
            consumer = client.send_and_consume("websocket.connect", path="/kitchen/")
            assert consumer.connected == {"room": "kitchen"}
            assert client.receive(json=False) == "here"

    def test_groups_and_route_parameters(self) -> None:
        class Consumer(websockets.WebsocketConsumer):
            channel_session = True

            def connection_groups(self, **kwargs: Any) -> list[str]:
                return [f"group-{kwargs['id']}"]

            def disconnect(self, message: Any, **kwargs: Any) -> None:
                self.left = message.channel_session["id"]

            def connect(self, message: Any, **kwargs: Any) -> None:
                message.channel_session["id"] = kwargs["id"]
                super().connect(message, **kwargs)

        with apply_routes([Consumer.as_route(path=r"^/path/(?P<id>\d+)$")]):
            client = WSClient()
            consumer = client.send_and_consume("websocket.connect", path="/path/789")
            assert consumer.kwargs["id"] == "789"
            assert consumer.path == "/path/789"
            Consumer.group_send("group-789", text="hello")
            assert client.receive(json=False) == "hello"
            assert client.send_and_consume("websocket.disconnect", path="/path/789").left == "789"
            Consumer.group_send("group-789", text="hello")
            assert client.receive() is None

    def test_a_demultiplexer(self) -> None:
        class Stream(websockets.JsonWebsocketConsumer):
            def connect(self, message: Any, multiplexer: Any = None, **kwargs: Any) -> None:
                multiplexer.send(kwargs)

            def receive(self, content: Any, multiplexer: Any = None, **kwargs: Any) -> None:
                if "wrong" in content:
                    self.send(content)
                multiplexer.send({"echo": content, "id": kwargs["id"]})

        class Demultiplexer(websockets.WebsocketDemultiplexer):
            consumers = {"mystream": Stream}

        with apply_routes([route_class(Demultiplexer, path=r"/path/(?P<id>\d+)"), route_class(Stream)]):
            client = WSClient()
            client.send_and_consume("websocket.connect", path="/path/1")
            assert client.receive() == {"stream": "mystream", "payload": {"id": "1"}}
            frame = {"stream": "mystream", "payload": {"text_field": "mytext"}}
            client.send_and_consume("websocket.receive", path="/path/1", text=frame)
            expected = {"echo": {"text_field": "mytext"}, "id": "1"}
            assert client.receive() == {"stream": "mystream", "payload": expected}
            frame = {"stream": "mystream", "payload": {"wrong": 1}}
            with pytest.raises(SendNotAvailableOnDemultiplexer):
                client.send_and_consume("websocket.receive", path="/path/1", text=frame)
            assert client.receive() is None
            with pytest.raises(ValueError):
                client.send_and_consume("websocket.receive", path="/path/1", text={"stream": "other", "payload": {}})
            assert client.receive(json=False) == {"close": 1007}
