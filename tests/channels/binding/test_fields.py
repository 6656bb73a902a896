"""Which fields a binding covers."""

from __future__ import annotations

from typing import Any

import pytest

from channels.binding.fields import covers, covers_all, read, writable

from .shelves.models import Book, Country, Novel


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (None, False),
        ([], False),
        (["title"], False),
        (["__all__", "title"], False),
        ("__all__", True),
        (["__all__"], True),
        (("__all__",), True),
    ],
)
def test_all_fields_are_asked_for(fields: Any, answer: bool) -> None:
    assert covers_all(fields) is answer


@pytest.mark.parametrize(
    ("fields", "exclude", "names"),
    [
        (["__all__"], None, {"title", "shelf"}),
        (["title"], None, {"title"}),
        (["shelf"], None, {"shelf"}),
        (["shelf_id"], None, {"shelf"}),
        (None, ["shelf_id"], {"title"}),
        (None, ["shelf"], {"title"}),
        (["title"], ["title"], {"title"}),
        ([], None, set()),
        (None, [], {"title", "shelf"}),
    ],
)
def test_a_field_is_covered_by_its_name_or_its_columns(fields: Any, exclude: Any, names: set[str]) -> None:
    meta = Book._meta
    assert {name for name in ("title", "shelf") if covers(fields, exclude, meta.get_field(name))} == names


def test_a_primary_key_is_written_when_creating_only_and_not_into_what_is_inherited() -> None:
    data = {"code": "de", "name": "x"}
    assert writable(Country, data, ["__all__"], None, creating=True) == data
    assert writable(Country, data, ["__all__"], None, creating=False) == {"name": "x"}
    inherited = {"id": 1, "book_ptr": 1, "book_ptr_id": 1, "title": "x"}
    for creating in (True, False):
        assert writable(Novel, inherited, ["__all__"], None, creating) == {"title": "x"}


def test_the_values_of_what_is_inherited_are_those_of_now() -> None:
    novel = Novel.objects.create(title="Emma", mood="light")
    assert read(novel, ["title", "mood"], None) == {"title": "Emma", "mood": "light"}
    novel.book_ptr  # noqa: B018 - keeps the instance it is read from
    novel.title = "Persuasion"
    assert read(novel, ["title", "mood"], None) == {"title": "Persuasion", "mood": "light"}
