"""Inbound: what clients may change; and members of instances, outbound."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError

from channels.binding.websockets import WebsocketBinding, WebsocketBindingWithMembers
from channels.generic.websockets import WebsocketDemultiplexer
from channels.test import ChannelTestCase, WSClient, apply_routes

from ..driving import Socket, working
from ..messages import replies, websocket
from .shelves.models import Book, Country, Crime, Shelf, Tag, Token

Hear = Callable[..., list[Any]]


class Open(WebsocketBinding):
    """Everybody may do everything, and nobody is told."""

    model: Any = None
    stream = "books"
    fields = ["title", "pages"]
    asked: list[Any]

    @classmethod
    def group_names(cls, instance: Any) -> list[str]:
        return []

    def has_permission(self, user: Any, action: str, pk: Any) -> bool:
        type(self).asked.append((user.is_authenticated, action, pk))
        return True


def bind(**attributes: Any) -> Any:
    return type("Bound", (Open,), {"__module__": __name__, "model": Book, "asked": [], **attributes})


def streams(binding: Any) -> type[WebsocketDemultiplexer]:
    return type("Streams", (WebsocketDemultiplexer,), {"consumers": {"books": binding.consumer}})


def say(layer: Any, binding: Any, action: Any, pk: Any = None, data: Any = None, **more: Any) -> None:
    payload = {"action": action, "pk": pk, "data": data, **more}
    streams(binding)(
        websocket(layer, "receive", text=json.dumps({"stream": "books", "payload": payload})), room="kitchen"
    )


def test_create(layer: Any) -> None:
    binding = bind()
    say(layer, binding, "create", data={"title": "Emma", "pages": 3})
    book = Book.objects.get()
    assert (book.title, book.pages) == ("Emma", 3)
    assert book.added is not None
    assert binding.asked == [(False, "create", None)]


def test_update(layer: Any) -> None:
    binding = bind()
    book = Book.objects.create(title="Emma", pages=3)
    say(layer, binding, "update", pk=book.pk, data={"title": "Emma, again"})
    book.refresh_from_db()
    assert (book.title, book.pages) == ("Emma, again", 3)
    assert binding.asked == [(False, "update", book.pk)]


def test_delete(layer: Any) -> None:
    binding = bind()
    book = Book.objects.create(title="Emma")
    say(layer, binding, "delete", pk=book.pk)
    say(layer, binding, "delete", pk=book.pk)
    assert not Book.objects.exists()
    assert binding.asked == [(False, "delete", book.pk)] * 2


@pytest.mark.parametrize("action", ["create", "update", "delete", "other"])
def test_without_permission_nothing_happens(layer: Any, action: str) -> None:
    book = Book.objects.create(title="Emma")
    say(layer, bind(has_permission=lambda *args: False), action, pk=book.pk, data={"title": "x"})
    assert [each.title for each in Book.objects.all()] == ["Emma"]
    assert replies(layer) == []


def test_connect_and_disconnect_change_nothing(layer: Any) -> None:
    binding = bind()
    streams(binding)(websocket(layer))
    streams(binding)(websocket(layer, "disconnect"))
    assert binding.asked == []


def test_the_binding_knows_the_message_and_what_the_route_captured(layer: Any) -> None:
    seen = []

    def allow(self: Any, user: Any, action: str, pk: Any) -> bool:
        seen.append((self.kwargs["room"], self.kwargs["multiplexer"].stream, self.message.channel.name, self.data))
        return True

    say(layer, bind(has_permission=allow), "create", data={"title": "Emma"})
    assert seen == [("kitchen", "books", "websocket.receive", {"title": "Emma"})]


def test_fields_that_are_not_covered_are_not_written(layer: Any) -> None:
    shelf = Shelf.objects.create(name="one")
    binding = bind()
    say(layer, binding, "create", data={"title": "Emma", "price": "5.00", "shelf": shelf.pk})
    book = Book.objects.get()
    assert (book.price, book.shelf) == (1, None)
    say(layer, binding, "update", pk=book.pk, data={"pages": 2, "price": "5.00", "shelf_id": shelf.pk})
    book.refresh_from_db()
    assert (book.pages, book.price, book.shelf) == (2, 1, None)


def test_an_excluded_field_is_not_written_under_the_name_of_its_column_either(layer: Any) -> None:
    shelf = Shelf.objects.create(name="one")
    binding = bind(fields=None, exclude=["shelf"])
    book = Book.objects.create(title="Emma")
    say(layer, binding, "update", pk=book.pk, data={"shelf_id": shelf.pk, "shelf": shelf.pk, "price": "5.00"})
    book.refresh_from_db()
    assert (book.price, book.shelf) == (5, None)


@pytest.mark.parametrize("fields", ["__all__", ["__all__"], ["shelf", "tags"]])
def test_relations_are_written_by_key(layer: Any, fields: Any) -> None:
    shelf, tag = Shelf.objects.create(name="one"), Tag.objects.create(word="old")
    binding = bind(fields=fields)
    say(layer, binding, "create", data={"shelf": shelf.pk, "tags": [tag.pk]})
    book = Book.objects.get()
    assert (book.shelf, list(book.tags.all())) == (shelf, [tag])
    say(layer, binding, "update", pk=book.pk, data={"shelf": None, "tags": []})
    book.refresh_from_db()
    assert (book.shelf, list(book.tags.all())) == (None, [])


def test_an_update_leaves_relations_alone_that_it_does_not_name(layer: Any) -> None:
    tag = Tag.objects.create(word="old")
    book = Book.objects.create(title="Emma")
    book.tags.add(tag)
    say(layer, bind(fields=["__all__"]), "update", pk=book.pk, data={"title": "x"})
    assert list(book.tags.all()) == [tag]


def test_an_update_cannot_reach_another_row_than_the_permitted_one(layer: Any) -> None:
    mine, yours = Book.objects.create(title="mine"), Book.objects.create(title="yours")
    binding = bind(fields=["__all__"])
    say(layer, binding, "update", pk=mine.pk, data={"id": yours.pk, "title": "changed"})
    assert {book.pk: book.title for book in Book.objects.all()} == {mine.pk: "changed", yours.pk: "yours"}


def test_create_cannot_overwrite_what_exists(layer: Any) -> None:
    book = Book.objects.create(title="mine")
    with pytest.raises(IntegrityError):
        say(layer, bind(fields=["__all__"]), "create", data={"id": book.pk, "title": "changed"})
    assert Book.objects.get().title == "mine"


def test_create_cannot_overwrite_a_user_found_by_name(layer: Any) -> None:
    User.objects.create_user("ada", email="ada@example.com")
    with pytest.raises(IntegrityError):
        say(layer, bind(model=User, fields=["username", "email"]), "create", data={"username": "ada", "email": "x@y.z"})
    assert User.objects.get().email == "ada@example.com"


def test_keys_of_other_kinds(layer: Any) -> None:
    tokens, countries = bind(model=Token, fields=["label"]), bind(model=Country, fields=["code", "name"])
    say(layer, tokens, "create", data={"label": "x"})
    token = Token.objects.get()
    assert isinstance(token.key, uuid.UUID)
    say(layer, tokens, "update", pk=str(token.key), data={"label": "y"})
    token.refresh_from_db()
    assert token.label == "y"
    say(layer, countries, "create", data={"code": "de", "name": "x"})
    say(layer, countries, "update", pk="de", data={"code": "fr", "name": "y"})
    assert [(each.code, each.name) for each in Country.objects.all()] == [("de", "y")]


def test_models_that_inherit_are_created_and_updated_with_their_tables(layer: Any) -> None:
    other = Book.objects.create(title="other")
    binding = bind(model=Crime, fields=["__all__"])
    data = {"title": "Who?", "mood": "dark", "culprit": "butler", "id": other.pk, "book_ptr": other.pk}
    say(layer, binding, "create", data=data)
    crime = Crime.objects.get()
    assert (crime.title, crime.mood, crime.culprit) == ("Who?", "dark", "butler")
    assert crime.pk != other.pk
    say(layer, binding, "update", pk=crime.pk, data={"title": "Who now?", "culprit": "gardener", "id": other.pk})
    crime.refresh_from_db()
    assert (crime.title, crime.mood, crime.culprit) == ("Who now?", "dark", "gardener")
    assert Book.objects.get(pk=other.pk).title == "other"


@pytest.mark.parametrize(
    ("action", "pk", "data", "error", "text"),
    [
        ("other", 1, {}, ValueError, "knows no action 'other'"),
        (["create"], None, {}, ValueError, "knows no action"),
        ("update", 12345, {"title": "x"}, Book.DoesNotExist, "does not exist"),
        ("create", None, {"nothing": 1}, FieldDoesNotExist, "nothing"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    layer: Any, action: Any, pk: Any, data: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        say(layer, bind(), action, pk=pk, data=data)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "has no action"),
        ({"pk": 1}, "has no action"),
        ({"action": "create"}, "whose data is not a dict"),
        ({"action": "create", "data": [1]}, "whose data is not a dict"),
        ({"action": "update", "pk": 1, "data": "x"}, "whose data is not a dict"),
    ],
)
def test_a_payload_that_asks_for_nothing_closes_with_1007(layer: Any, payload: Any, text: str) -> None:
    frame = json.dumps({"stream": "books", "payload": payload})
    with pytest.raises(ValueError, match=r"the binding .*test_websockets\.Bound got") as caught:
        streams(bind())(websocket(layer, "receive", text=frame))
    assert text in str(caught.value)
    assert replies(layer) == [{"close": 1007}]


def test_the_worker_lives_through_all_of_it(layer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL), working(layer, [streams(bind()).as_route()]):
        socket = Socket(layer)
        assert socket.connect() == [{"accept": True}]
        for payload in ({"action": "update", "pk": "x", "data": {}}, {"action": "delete", "pk": [1]}, {"action": "no"}):
            socket.say({"stream": "books", "payload": payload})
            assert socket.failed
        assert socket.say({"stream": "books", "payload": {}}) == [{"close": 1007}]
        socket.say({"stream": "books", "payload": {"action": "create", "data": {"title": "Emma"}}})
        assert not socket.failed
    assert Book.objects.get().title == "Emma"


def test_the_user_is_the_one_of_the_connection(layer: Any) -> None:
    user = User.objects.create_user("ada")
    binding = bind()
    message = websocket(layer, "receive", text=json.dumps({"action": "create", "data": {"title": "Emma"}}))
    message.user = user  # type: ignore[attr-defined]
    binding.channel_session_user = False
    binding.consumer(message)
    assert binding.asked == [(True, "create", None)]


@pytest.mark.parametrize(
    ("attributes", "session", "user"),
    [
        ({}, True, True),
        ({"channel_session_user": False}, False, False),
        ({"channel_session_user": False, "channel_session": True}, True, False),
        ({"channel_session_user": False, "strict_ordering": True}, True, False),
    ],
)
def test_sessions_are_given_on_demand(layer: Any, attributes: Any, session: bool, user: bool) -> None:
    message = websocket(layer, "receive", text=json.dumps({"action": "delete", "pk": 1}))
    bind(**attributes).consumer(message)
    assert (hasattr(message, "channel_session"), hasattr(message, "user")) == (session, user)


def test_slight_ordering_is_gone(layer: Any) -> None:
    with pytest.raises(ValueError, match="sets slight_ordering, which no longer exists"):
        bind(slight_ordering=True).consumer(websocket(layer, "receive", text="{}"))


def test_a_change_by_one_client_is_seen_by_the_others(layer: Any, hear: Hear) -> None:
    def everybody(cls: Any, instance: Any) -> list[str]:
        return ["everybody"]

    binding = bind(group_names=classmethod(everybody))
    hear("everybody")
    say(layer, binding, "create", data={"title": "Emma"})
    (message,) = hear()
    assert message["payload"]["action"] == "create"
    say(layer, binding, "update", pk=message["payload"]["pk"], data=message["payload"]["data"])
    assert [message["payload"]["action"] for message in hear()] == ["update"]


def test_members_are_sent_beside_the_fields(layer: Any, hear: Hear) -> None:
    class Members(WebsocketBindingWithMembers):
        model = Book
        stream = "books"
        fields = ["title"]
        send_members = ["half", "shout", "shelf.name", "added.date"]

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            return ["everybody"]

    hear("everybody")
    book = Book.objects.create(title="Emma", pages=9, shelf=Shelf.objects.create(name="one"))
    assert hear()[0]["payload"]["data"] == {
        "title": "Emma",
        "half": 4,
        "shout": "EMMA",
        "shelf__name": "one",
        "added__date": book.added.date().isoformat(),
    }


class UnderTheTestClient(ChannelTestCase):
    """Bindings as the tests of an application for Channels 1 use them."""

    def test_outbound(self) -> None:
        class UserBinding(WebsocketBinding):
            model = User
            stream = "users"
            fields = ["username", "email"]

            @classmethod
            def group_names(cls, instance: Any) -> list[str]:
                return ["users"]

        client = WSClient()
        client.join_group("users")
        user = User.objects.create(username="ada", email="ada@example.com")
        data = {"username": "ada", "email": "ada@example.com"}
        payload = {"action": "create", "pk": user.pk, "data": data, "model": "auth.user"}
        assert client.receive() == {"stream": "users", "payload": payload}
        assert client.receive() is None

    def test_inbound(self) -> None:
        class UserBinding(WebsocketBinding):
            model = User
            stream = "users"
            fields = ["username", "email", "password", "last_name"]

            @classmethod
            def group_names(cls, instance: Any) -> list[str]:
                return ["users_outbound"]

            def has_permission(self, user: Any, action: str, pk: Any) -> bool:
                return True

        class Demultiplexer(WebsocketDemultiplexer):
            consumers = {"users": UserBinding.consumer}
            groups = ["inbound"]

        with apply_routes([Demultiplexer.as_route(path="/")]):
            client = WSClient()
            client.send_and_consume("websocket.connect", path="/")
            for payload in (
                {"action": "create", "data": {"username": "ada", "email": "ada@example.com"}},
                {"action": "update", "pk": 1, "data": {"username": "lovelace", "first_name": "no"}},
            ):
                payload["pk"] = User.objects.get().pk if payload["action"] == "update" else None
                frame = {"stream": "users", "payload": payload}
                client.send_and_consume("websocket.receive", path="/", text=frame)
            user = User.objects.get()
            assert (user.username, user.email, user.first_name) == ("lovelace", "ada@example.com", "")
            frame = {"stream": "users", "payload": {"action": "delete", "pk": user.pk}}
            client.send_and_consume("websocket.receive", path="/", text=frame)
            assert not User.objects.exists()
            assert client.receive() is None
