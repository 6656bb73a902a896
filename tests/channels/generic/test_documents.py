"""The guide to class-based consumers does what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from ..documents import run_examples
from ..driving import Socket, cookie_of, logged_in, working


@pytest.mark.usefixtures("database")
def test_the_guide(layer: Any) -> None:
    routing = run_examples("generics.md", "guide")["channel_routing"]
    ada = User.objects.create_user("ada")
    page = logged_in(ada)
    with working(layer, routing):
        room = Socket(layer, "room", path="/room/kitchen/")
        assert room.connect(cookie_of(page)) == [{"accept": True}]
        assert room.say("hello") == [{"text": "ada: hello"}]
        room.disconnect()
        assert not room.failed
        assert Socket(layer, "stranger", path="/room/kitchen/").connect() == [{"accept": False}]

        calculator = Socket(layer, "calculator", path="/calculator/")
        calculator.connect()
        assert calculator.say({"numbers": [1, 2]}) == [{"text": '{"sum": 3}'}]
        assert calculator.say(data=b"x") == [{"close": 1003}]

        assert Socket(layer, "echo", path="/echo/").say("a") == [{"text": "a"}]

        streams = Socket(layer, "streams", path="/page/")
        assert streams.connect() == [{"accept": True}] * 3
        answers = [
            *streams.say({"stream": "sums", "payload": {"numbers": [1, 2]}}),
            *streams.say({"stream": "votes", "payload": {"for": "tea"}}),
        ]
        assert [json.loads(answer["text"]) for answer in answers] == [
            {"stream": "sums", "payload": {"sum": 3}},
            {"stream": "votes", "payload": {"for": "tea"}},
        ]
        assert streams.say({"stream": "other", "payload": {}}) == [{"close": 1007}]
