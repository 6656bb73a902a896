"""What of a consumer goes to another process, and what is said of the rest."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from channels.hosting.checkpoints import MOST_BYTES, BadCheckpoint, pack, unpack
from workers.instances import NotCarried


class Room:
    """An object of an application."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_what_handlers_have_set_is_carried_and_what_the_server_gives_is_not() -> None:
    given = {"scope": {"a": threading.Lock()}, "channel_layer": object(), "channel_name": "x", "base_send": print}
    own, added, identity = unpack(
        pack({**given, "room": Room("a"), "user": User(username="ann"), "n": 1}, {"k": {1, 2}}, ("C", 7))
    )
    assert own.keys() == {"room", "user", "n"}
    assert (own["room"].name, own["user"].username, own["n"]) == ("a", "ann", 1)
    assert (added, identity) == ({"k": {1, 2}}, ("C", 7))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (asyncio.Lock(), "Lock"),
        (asyncio.Event(), "Event"),
        (asyncio.Queue(), "Queue"),
        (threading.Lock(), "lock"),
        ([{"deep": asyncio.Lock()}], "list"),
        (lambda: None, "function"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_attribute_that_stands_in_the_way_is_named(value: Any, kind: str) -> None:
    with pytest.raises(NotCarried, match=rf"self\.thing is a {kind}, which cannot be carried to another process"):
        pack({"fine": 1, "thing": value}, {}, None)
    with pytest.raises(NotCarried, match=rf"scope\['thing'\] is a {kind}"):
        pack({"fine": 1}, {"thing": value}, None)


def test_much_is_not_carried_with_each_event() -> None:
    pack({"text": "x" * (MOST_BYTES - 1_000)}, {}, None)
    with pytest.raises(NotCarried, match=f"{MOST_BYTES} are carried at most"):
        pack({"text": "x" * MOST_BYTES}, {}, None)


def test_only_who_has_the_secret_key_can_have_anything_loaded() -> None:
    checkpoint = pack({"n": 1}, {}, None)
    with override_settings(SECRET_KEY="another"), pytest.raises(BadCheckpoint, match="signed with another SECRET_KEY"):
        unpack(checkpoint)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        assert unpack(checkpoint)[0] == {"n": 1}
    forged = pickle.dumps(({"n": 2}, {}, None))
    for bad in (b"", forged, checkpoint[:32] + forged, checkpoint[:-1]):
        with pytest.raises(BadCheckpoint):
            unpack(bad)


def test_what_another_version_of_the_code_cannot_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = pack({"room": Room("a")}, {}, None)
    monkeypatch.delitem(globals(), "Room")
    with pytest.raises(BadCheckpoint, match=r"this version of the code cannot load it: AttributeError.*Room"):
        unpack(checkpoint)
