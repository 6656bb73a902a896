"""What of a consumer goes to another process, and what is said of the rest."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils.safestring import mark_safe

from channels.hosting.checkpoints import MOST_BYTES, BadCheckpoint, Marks, _sign, pack, unpack
from workers.instances import NotCarried

NAME, OTHER = "daphne.x!s.a", "daphne.x!s.b"


class Room:
    """An object of an application."""

    def __init__(self, name: str) -> None:
        self.name = name


def naming(module: str, name: str) -> bytes:
    """A checkpoint, signed, whose loading looks something up."""
    words = b"".join(b"\x8c%c%b" % (len(word), word.encode()) for word in (module, name))
    data = b"\x80\x04" + words + b"\x93."
    return _sign(data, NAME) + data


def named() -> None:
    """A function of an application."""


def test_what_handlers_have_set_is_carried_and_what_the_server_gives_is_not() -> None:
    given = {"scope": {"a": threading.Lock()}, "channel_layer": object(), "channel_name": "x", "base_send": print}
    own, added, identity = unpack(
        pack({**given, "room": Room("a"), "user": User(username="ann"), "n": 1}, {"k": {1, 2}}, ("C", 7), NAME), NAME
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
        pack({"fine": 1, "thing": value}, {}, None, NAME)
    with pytest.raises(NotCarried, match=rf"scope\['thing'\] is a {kind}"):
        pack({"fine": 1}, {"thing": value}, None, NAME)


def test_much_is_not_carried_with_each_event() -> None:
    pack({"text": "x" * (MOST_BYTES - 1_000)}, {}, None, NAME)
    with pytest.raises(NotCarried, match=f"{MOST_BYTES} are carried at most"):
        pack({"text": "x" * MOST_BYTES}, {}, None, NAME)


def test_only_who_has_the_secret_key_can_have_anything_loaded() -> None:
    checkpoint = pack({"n": 1}, {}, None, NAME)
    with override_settings(SECRET_KEY="another"), pytest.raises(BadCheckpoint, match="signed with another SECRET_KEY"):
        unpack(checkpoint, NAME)
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        assert unpack(checkpoint, NAME)[0] == {"n": 1}
    forged = pickle.dumps(({"n": 2}, {}, None))
    for bad in (b"", forged, checkpoint[:32] + forged, checkpoint[:-1]):
        with pytest.raises(BadCheckpoint):
            unpack(bad, NAME)


def test_what_another_version_of_the_code_cannot_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = pack({"room": Room("a")}, {}, None, NAME)
    monkeypatch.delitem(globals(), "Room")
    with pytest.raises(BadCheckpoint, match=r"this version of the code cannot load it: AttributeError.*Room"):
        unpack(checkpoint, NAME)


def test_a_checkpoint_of_another_connection_is_not_loaded() -> None:
    checkpoint = pack({"n": 1}, {}, None, NAME)
    with pytest.raises(BadCheckpoint, match="or for another connection"):
        unpack(checkpoint, OTHER)


def test_with_a_list_of_classes_no_others_are_loaded() -> None:
    checkpoint = pack({"room": Room("a")}, {}, None, NAME)
    for listed in ([__name__], [f"{__name__}.Room"]):
        with override_settings(CHANNEL_CHECKPOINT_CLASSES=listed):
            assert unpack(checkpoint, NAME)[0]["room"].name == "a"
    refusal = rf"it names {__name__}\.Room, which CHANNEL_CHECKPOINT_CLASSES does not list"
    with (
        override_settings(CHANNEL_CHECKPOINT_CLASSES=["decimal", __name__.upper()]),
        pytest.raises(BadCheckpoint, match=refusal),
    ):
        unpack(checkpoint, NAME)


@pytest.mark.parametrize("name", ["threading.Thread", "asyncio.Lock", "Room.__init__", "pack", "named"])
def test_what_a_listed_module_has_imported_or_can_call_is_not_loaded(name: str) -> None:
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[__name__]), pytest.raises(BadCheckpoint, match="does not list"):
        unpack(naming(__name__, name), NAME)


def test_a_module_that_is_not_listed_is_not_even_imported() -> None:
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[]), pytest.raises(BadCheckpoint, match="names antigravity"):
        unpack(naming("antigravity", "x"), NAME)
    assert "antigravity" not in sys.modules


def test_plain_values_and_models_need_no_entry() -> None:
    values = {
        "numbers": [1, 2.5, 1j, Decimal("1.5"), Fraction(1, 3), range(3)],
        "sets": [{1}, frozenset({2}), deque([1]), OrderedDict(a=1), defaultdict(list, b=[2]), Counter("aab")],
        "times": [datetime.now(UTC), datetime.now(ZoneInfo("UTC")).date(), timedelta(1), datetime.now(ZoneInfo("UTC"))],
        "other": [uuid.UUID(int=5), mark_safe("<b>"), b"x", bytearray(b"y")],
        "user": User(username="ann"),
    }
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[]):
        own, _, _ = unpack(pack(values, {}, None, NAME), NAME)
    assert own["user"].username == "ann"
    assert {**own, "user": None} == {**values, "user": None}


def test_what_is_not_listed_stands_in_the_way_where_it_is_kept() -> None:
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[]):
        with pytest.raises(NotCarried, match=rf"self\.room is a Room.*does not list {__name__}\.Room"):
            pack({"room": Room("a")}, {}, None, NAME)
        with pytest.raises(NotCarried, match=rf"self\.call is a function.*does not list {__name__}\.named"):
            pack({"call": named}, {}, None, NAME)
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=[f"{__name__}.named"]):
        assert unpack(pack({"call": named}, {}, None, NAME), NAME)[0] == {"call": named}


def is_unchanged(attributes: dict[str, Any], change: Any) -> bool:
    before = Marks.of(attributes)
    assert before is not None
    assert before.hold_for(attributes)
    change(attributes)
    return before.hold_for(attributes)


PLAIN = {"room": "lobby", "n": 1, "names": ["a", "b"], "counts": {"a": 1, "b": 2}, "scope": {"k": object()}}


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own.update(n=2),
        lambda own: own.update(n=True),
        lambda own: own.update(more=None),
        lambda own: own.pop("n"),
        lambda own: own.update(m=own.pop("n")),
        lambda own: own["names"].append("c"),
        lambda own: own["names"].__setitem__(0, "z"),
        lambda own: own["names"].reverse(),
        lambda own: own["names"].__setitem__(0, []),
        lambda own: own.update(names=[*own["names"]]),
        lambda own: own["counts"].update(a=3),
        lambda own: own["counts"].update(c=2),
        lambda own: own["counts"].update(a=own["counts"].pop("a")),
        lambda own: own.update(room=Room("a")),
    ],
)
def test_no_change_of_plain_attributes_is_overlooked(change: Any) -> None:
    assert not is_unchanged({**PLAIN, "names": ["a", "b"], "counts": {"a": 1, "b": 2}}, change)


def test_what_is_the_same_is_unchanged_however_the_servers_own_changes_inside() -> None:
    assert is_unchanged(dict(PLAIN), lambda own: own.update(n=own["n"]))
    assert is_unchanged({**PLAIN, "scope": {}}, lambda own: own["scope"].update(user=Room("a")))


def test_more_objects_have_to_stay_the_same_ones() -> None:
    user = Room("a")
    before = Marks.of(PLAIN, user, 1)
    assert before is not None
    assert before.hold_for(PLAIN, user, 1)
    assert not before.hold_for(PLAIN, Room("a"), 1)
    assert not before.hold_for(PLAIN, user, True)
    assert not before.hold_for(PLAIN, user)


@pytest.mark.parametrize(
    "value",
    [Room("a"), [["deep"]], {"a": {}}, {1, 2}, bytearray(b"x"), [0] * 100],
    ids=lambda value: type(value).__name__,
)
def test_of_what_can_change_inside_there_are_no_marks(value: Any) -> None:
    assert Marks.of({"n": 1, "thing": value}) is None
