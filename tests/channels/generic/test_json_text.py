"""`JsonWebsocketConsumer`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from channels import Group
from channels.generic.websockets import JsonWebsocketConsumer

from ..messages import REPLY, replies, websocket


class Echo(JsonWebsocketConsumer):
    def receive(self, content: Any, **kwargs: Any) -> None:
        self.send({"content": content, **kwargs})


@pytest.mark.parametrize("content", [{"a": [1, None]}, [], "text", 5, None])
def test_frames_are_decoded_and_encoded(layer: Any, content: Any) -> None:
    Echo(websocket(layer, "receive", text=json.dumps(content), bytes=None), room="a")
    (reply,) = replies(layer)
    assert json.loads(reply["text"]) == {"content": content, "room": "a"}


def test_json_is_sent_to_groups(layer: Any) -> None:
    Group("room").add(REPLY)
    Echo.group_send("room", {"a": 1})
    Echo.group_send("room", [], close=True)
    assert replies(layer) == [{"text": '{"a": 1}'}, {"text": "[]", "close": True}]


def test_a_frame_can_close_behind_it(layer: Any) -> None:
    Echo(websocket(layer, "disconnect")).send({}, close=4000)
    assert replies(layer) == [{"text": "{}", "close": 4000}]


def test_the_encoding_can_be_another(layer: Any) -> None:
    class Shouting(Echo):
        @classmethod
        def decode_json(cls, text: str) -> Any:
            return json.loads(text.lower())

        @classmethod
        def encode_json(cls, content: Any) -> str:
            return json.dumps(content).upper()

    Shouting(websocket(layer, "receive", text='{"A": "B"}'))
    Group("room").add(REPLY)
    Shouting.group_send("room", "c")
    assert replies(layer) == [{"text": '{"CONTENT": {"A": "B"}}'}, {"text": '"C"'}]


def test_without_a_receive_of_its_own_it_ignores_what_comes(layer: Any) -> None:
    JsonWebsocketConsumer(websocket(layer, "receive", text="{}"))
    assert replies(layer) == []
