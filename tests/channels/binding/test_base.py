"""Outbound: what is sent to whom when a model changes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.signals import post_save

from channel_layer.channel import Message
from channels.binding.base import CREATE, DELETE, UPDATE
from channels.binding.websockets import WebsocketBinding

from ..driving import Socket, working
from .shelves.models import Book, Country, Crime, Novel, Shelf, Tag, Token

Hear = Callable[..., list[Any]]


class OnShelves(WebsocketBinding):
    """Books, for those who look at their shelf."""

    model = None
    stream = "books"
    fields = ["title", "pages"]

    @classmethod
    def group_names(cls, instance: Any) -> list[str]:
        return [f"shelf-{instance.shelf_id}"]


def bind(**attributes: Any) -> Any:
    return type("Bound", (OnShelves,), {"__module__": __name__, "model": Book, **attributes})


def short(message: Any) -> tuple[str, Any]:
    assert message["stream"] == "books"
    return message["payload"]["action"], message["payload"]["pk"]


@pytest.fixture
def shelves() -> tuple[Shelf, Shelf]:
    return Shelf.objects.create(name="one"), Shelf.objects.create(name="two")


def test_the_actions_have_their_names() -> None:
    assert (CREATE, UPDATE, DELETE) == ("create", "update", "delete")


def test_create_update_and_delete(layer: Any, hear: Hear, shelves: Any) -> None:
    bind()
    hear(f"shelf-{shelves[0].pk}")
    book = Book.objects.create(title="Emma", shelf=shelves[0], pages=5)
    pk = book.pk
    expected = {"action": "create", "pk": pk, "data": {"title": "Emma", "pages": 5}, "model": "shelves.book"}
    assert hear() == [{"stream": "books", "payload": expected}]
    book.pages = 6
    book.save()
    (message,) = hear()
    assert message["payload"] == {**expected, "action": "update", "data": {"title": "Emma", "pages": 6}}
    book.delete()
    (message,) = hear()
    assert message["payload"] == {**expected, "action": "delete", "data": {"title": "Emma", "pages": 6}}


def test_a_group_that_an_instance_leaves_gets_a_delete_and_the_one_it_joins_a_create(
    layer: Any, hear: Hear, shelves: Any
) -> None:
    class Marked(OnShelves):
        model = Book

        @classmethod
        def encode(cls, stream: str, payload: Any) -> dict[str, Any]:
            order.append(payload["action"])
            return super().encode(stream, payload)

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            return ["library", *super().group_names(instance)]

    order: list[str] = []
    book = Book.objects.create(title="Emma", shelf=shelves[0])
    order.clear()
    hear(f"shelf-{shelves[0].pk}")
    book.shelf = shelves[1]
    book.save()
    assert [short(message) for message in hear()] == [("delete", book.pk)]
    assert order == ["delete", "update", "create"]
    hear(f"shelf-{shelves[1].pk}")
    Book.objects.create(title="Persuasion", shelf=shelves[1])
    book.shelf = shelves[0]
    book.save()
    assert sorted(action for action, _ in map(short, hear())) == ["create", "create", "delete"]


def test_an_instance_made_by_hand_for_a_row_that_exists(layer: Any, hear: Hear, shelves: Any) -> None:
    bind()
    book = Book.objects.create(title="Emma", shelf=shelves[0])
    hear(f"shelf-{shelves[0].pk}", "shelf-None")
    Book.objects.filter(pk=book.pk).update(title="unseen")
    assert hear() == []
    same = Book(pk=book.pk, title="Emma again", shelf=shelves[0], added=book.added)
    same.save()
    assert [short(message) for message in hear()] == [("create", book.pk)]


def test_a_row_that_was_gone_is_created(layer: Any, hear: Hear, shelves: Any) -> None:
    bind()
    book = Book.objects.create(title="Emma", shelf=shelves[0])
    Book.objects.filter(pk=book.pk)._raw_delete("default")
    hear(f"shelf-{shelves[0].pk}")
    book.save()
    assert [short(message) for message in hear()] == [("create", book.pk)]


def test_groups_may_depend_on_what_the_application_put_on_the_instance(layer: Any, hear: Hear) -> None:
    class ByEditor(OnShelves):
        model = Book

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            return [f"editor-{instance.editor}"]

    book = Book(title="Emma")
    book.editor = "ada"  # type: ignore[attr-defined]
    hear("editor-ada")
    book.save()
    book.save()
    assert [action for action, _ in map(short, hear())] == ["create", "update"]


def test_nothing_is_sent_without_groups_or_with_an_empty_payload(layer: Any, hear: Hear) -> None:
    class Silent(OnShelves):
        model = Book

        def serialize(self, instance: Any, action: str) -> Any:
            return {}

    class Alone(OnShelves):
        model = Book

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            return []

        def serialize(self, instance: Any, action: str) -> Any:
            raise AssertionError("nobody is there to see this")

    hear("shelf-None")
    Book.objects.create(title="Emma").delete()
    assert hear() == []


def test_a_binding_can_see_the_signals_arguments(layer: Any, hear: Hear) -> None:
    seen = []

    class Seeing(OnShelves):
        model = Book

        def serialize(self, instance: Any, action: str) -> Any:
            assert self.signal_kwargs is not None
            seen.append((action, self.signal_kwargs.get("update_fields"), self.signal_kwargs["using"]))
            assert self.instance is book
            return super().serialize(instance, action)

    book = Book(title="Emma")
    book.save()
    book.save(update_fields=["title"])
    book.delete()
    assert seen == [
        ("create", None, "default"),
        ("update", frozenset({"title"}), "default"),
        ("delete", None, "default"),
    ]


def test_the_rows_of_a_query_that_is_deleted_are_seen(layer: Any, hear: Hear, shelves: Any) -> None:
    bind()
    pks = {Book.objects.create(title=title, shelf=shelves[0]).pk for title in "ab"}
    hear(f"shelf-{shelves[0].pk}")
    Shelf.objects.all().delete()
    assert {short(message) for message in hear()} == {("delete", pk) for pk in pks}


def test_a_row_with_fields_that_are_not_loaded(layer: Any, hear: Hear, shelves: Any) -> None:
    bind(fields=["__all__"])
    pk = Book.objects.create(title="Emma", shelf=shelves[0], pages=7).pk
    hear(f"shelf-{shelves[0].pk}")
    book = Book.objects.only("title").get(pk=pk)
    book.title = "Emma, again"
    book.save()
    (update,) = hear()
    assert update["payload"]["data"]["title"] == "Emma, again"
    assert update["payload"]["data"]["pages"] == 7
    Book.objects.defer("pages").get(pk=pk).delete()
    (delete,) = hear()
    assert (delete["payload"]["action"], delete["payload"]["data"]["pages"]) == ("delete", 7)


def test_an_expression_is_sent_as_its_value(layer: Any, hear: Hear, shelves: Any) -> None:
    bind()
    book = Book.objects.create(title="Emma", shelf=shelves[0], pages=7)
    hear(f"shelf-{shelves[0].pk}")
    book.pages = F("pages") + 1
    book.save()
    (message,) = hear()
    assert message["payload"]["data"]["pages"] == 8


def test_fields_are_written_as_djangos_serializer_does(layer: Any, hear: Hear, shelves: Any) -> None:
    bind(fields=["__all__"])
    hear(f"shelf-{shelves[0].pk}")
    book = Book.objects.create(title="Emma", shelf=shelves[0], price="2.50")
    hear()
    tag = Tag.objects.create(word="old")
    book.tags.add(tag)
    assert hear() == []
    book.added = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    book.save()
    (message,) = hear()
    assert message["payload"]["data"] == {
        "title": "Emma",
        "shelf": shelves[0].pk,
        "price": "2.50",
        "pages": 0,
        "added": "2020-01-02T03:04:05Z",
        "tags": [tag.pk],
    }


@pytest.mark.parametrize("everything", ["__all__", ["__all__"], ("__all__",)])
def test_all_fields_can_be_named_in_one_word(layer: Any, hear: Hear, everything: Any) -> None:
    bind(fields=everything)
    hear("shelf-None")
    Book.objects.create(title="Emma")
    assert set(hear()[0]["payload"]["data"]) == {"title", "shelf", "price", "pages", "added", "tags"}


def test_fields_can_be_left_out(layer: Any, hear: Hear) -> None:
    bind(fields=None, exclude=["price", "added", "tags"])
    hear("shelf-None")
    Book.objects.create(title="Emma")
    assert hear()[0]["payload"]["data"] == {"title": "Emma", "shelf": None, "pages": 0}


@pytest.mark.parametrize(
    ("make", "pk"),
    [
        (lambda: Token.objects.create(label="x"), lambda token: str(token.key)),
        (lambda: Country.objects.create(code="de", name="x"), lambda country: "de"),
    ],
)
def test_keys_of_other_kinds(layer: Any, hear: Hear, make: Any, pk: Any) -> None:
    class Everybody(WebsocketBinding):
        model: Any = None
        stream = "books"
        exclude: list[str] = []

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            return ["everybody"]

    for model in (Token, Country):
        type("One", (Everybody,), {"model": model})
    hear("everybody")
    instance = make()
    assert short(hear()[0]) == ("create", pk(instance))
    instance.delete()
    assert [action for action, _ in map(short, hear())] == ["delete"]


def test_inherited_fields_are_sent_too(layer: Any, hear: Hear, shelves: Any) -> None:
    bind(model=Crime, fields=["title", "mood", "culprit"])
    hear(f"shelf-{shelves[0].pk}")
    crime = Crime.objects.create(title="Who?", mood="dark", culprit="butler", shelf=shelves[0])
    crime.title = "Who now?"
    crime.save()
    pk = crime.pk
    crime.delete()
    sent = [message["payload"] for message in hear()]
    assert [(each["action"], each["pk"], each["model"]) for each in sent] == [
        ("create", pk, "shelves.crime"),
        ("update", pk, "shelves.crime"),
        ("delete", pk, "shelves.crime"),
    ]
    assert sent[0]["data"] == {"title": "Who?", "mood": "dark", "culprit": "butler"}
    assert sent[1]["data"] == sent[2]["data"] == {"title": "Who now?", "mood": "dark", "culprit": "butler"}


def test_a_binding_of_what_is_inherited_sees_deletions_only(layer: Any, hear: Hear) -> None:
    bind(fields=["title"])
    hear("shelf-None")
    novel = Novel.objects.create(title="Emma", mood="light")
    novel.save()
    assert hear() == []
    pk = novel.pk
    novel.delete()
    assert [short(message) for message in hear()] == [("delete", pk)]


def test_messages_are_sent_at_once_even_in_a_transaction(layer: Any, hear: Hear) -> None:
    bind()
    hear("shelf-None")
    with transaction.atomic():
        Book.objects.create(title="Emma")
        assert len(hear()) == 1
        transaction.set_rollback(True)


def test_messages_can_wait_for_the_commit(layer: Any, hear: Hear) -> None:
    bind(send_on_commit=True)
    hear("shelf-None")
    with transaction.atomic():
        book = Book.objects.create(title="Emma")
        assert hear() == []
    assert [short(message) for message in hear()] == [("create", book.pk)]
    with transaction.atomic():
        book.save()
        transaction.set_rollback(True)
    assert hear() == []
    book.save()
    assert [short(message) for message in hear()] == [("update", book.pk)]


def test_in_a_consumer_messages_go_out_when_it_ends(layer: Any, hear: Hear) -> None:
    bind()
    hear("shelf-None")

    def failing(message: Any) -> None:
        Book.objects.create(title="Emma")
        raise RuntimeError("after the save")

    def working_well(message: Any) -> None:
        Book.objects.create(title="Persuasion")

    with working(layer, {"websocket.connect": failing, "websocket.receive": working_well}):
        socket = Socket(layer, "watcher")
        assert socket.connect() == []
        (message,) = socket.say("x")
        assert "Persuasion" in message["text"]


def test_two_bindings_of_one_model_do_not_mix(layer: Any, hear: Hear) -> None:
    bind(fields=["title"])
    bind(fields=["pages"], group_names=classmethod(lambda cls, instance: ["pages"]))
    hear("shelf-None", "pages")
    Book.objects.create(title="Emma")
    assert [set(message["payload"]["data"]) for message in hear()] == [{"title"}, {"pages"}]


def test_a_binding_without_stream_and_groups_only_takes(layer: Any) -> None:
    class Taking(WebsocketBinding):
        model: Any = Book
        fields = ["title"]

        def has_permission(self, user: Any, action: str, pk: Any) -> bool:
            return True

    assert not post_save.disconnect(Taking.post_save_receiver, sender=Book)
    book = Book.objects.create(title="Emma")
    frame = {"action": "update", "pk": book.pk, "data": {"title": "Persuasion"}}
    content = {"reply_channel": "daphne.test!a", "path": "/", "text": json.dumps(frame)}
    Taking.trigger_inbound(Message(content, "websocket.receive", layer))
    book.refresh_from_db()
    assert book.title == "Persuasion"


def test_a_binding_that_has_groups_and_no_stream_is_told_to_name_one(layer: Any) -> None:
    bind(stream=None)
    with pytest.raises(ValueError, match="has no stream; set it to the name of the stream it sends on"):
        Book.objects.create(title="Emma")
