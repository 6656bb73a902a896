"""What an instance was, and is, in the database."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from channels.binding.instances import load_deferred, stored, with_values

from .shelves.models import Book, Novel


@pytest.fixture
def book() -> Book:
    return Book.objects.create(title="Emma", pages=7)


def test_the_stored_instance_has_the_values_of_the_database(book: Book) -> None:
    book.title = "unsaved"
    book.editor = "ada"  # type: ignore[attr-defined]
    found = stored(book)
    assert (found.title, found.editor) == ("Emma", "ada")  # type: ignore[union-attr]
    assert book.title == "unsaved"


def test_it_is_of_the_same_class() -> None:
    novel = Novel.objects.create(title="Emma", mood="light")
    assert type(stored(novel)) is Novel


def test_there_is_none_for_a_row_that_is_gone(book: Book) -> None:
    Book.objects.all().delete()
    assert stored(book) is None


def test_expressions_are_replaced_on_another_instance_only(book: Book) -> None:
    assert with_values(book) is book
    book.pages = F("pages") + 1  # type: ignore[assignment]
    book.save()
    assert with_values(book).pages == 8


def test_fields_that_are_not_loaded_are_loaded_with_one_query(book: Book) -> None:
    partial = Book.objects.only("title").get(pk=book.pk)
    with CaptureQueriesContext(connection) as queries:
        load_deferred(partial)
        load_deferred(book)
        assert (partial.pages, partial.shelf_id) == (7, None)
    assert len(queries) == 1
