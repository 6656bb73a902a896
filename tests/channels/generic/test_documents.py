"""The guide to class-based consumers does what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from ..documents import run_examples
from ..driving import Socket, working


@pytest.mark.usefixtures("database")
def test_the_guide(layer: Any) -> None:
    routing = run_examples("generics.md", "guide")["channel_routing"]
    ada = User.objects.create_user("ada")
    page = SessionStore()
    page[auth.SESSION_KEY] = str(ada.pk)
    page[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    page[auth.HASH_SESSION_KEY] = ada.get_session_auth_hash()
    page.save()
    with working(layer, routing):
        room = Socket(layer, "room", path="/room/kitchen/")
        assert room.connect({"cookie": f"{settings.SESSION_COOKIE_NAME}={page.session_key}"}) == [{"accept": True}]
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
