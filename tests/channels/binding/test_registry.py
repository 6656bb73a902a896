"""Which bindings are registered when, and which cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps

from channels.binding.base import Binding
from channels.binding.registry import BindingMetaclass
from channels.binding.websockets import WebsocketBinding

from .shelves.models import Book, Shelf


def define(**attributes: Any) -> type[WebsocketBinding]:
    return type("Shelves", (WebsocketBinding,), {"__module__": __name__, **attributes})


def test_the_applications_are_ready_and_so_are_bindings() -> None:
    assert BindingMetaclass.register_immediately is True
    binding = define(model="shelves.Book", stream="books", fields=["title"])
    assert binding.model is Book
    assert binding.model_label == "shelves.book"
    assert binding in BindingMetaclass.binding_classes


def test_a_binding_defined_before_waits_for_the_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BindingMetaclass, "register_immediately", False)
    binding = define(model="shelves.Book", stream="books", fields=["title"])
    assert binding.model == "shelves.Book"
    apps.get_app_config("channels").ready()
    assert binding.model is Book
    assert BindingMetaclass.register_immediately is True


def test_a_class_with_model_none_of_its_own_is_abstract() -> None:
    abstract = define(model=None)
    assert abstract.get_registered_models() == []
    concrete = type("Concrete", (abstract,), {"model": Shelf, "stream": "s", "fields": ["name"]})
    assert concrete.get_registered_models() == [Shelf]  # type: ignore[attr-defined]


def test_a_class_may_have_several_models() -> None:
    class Both(WebsocketBinding):
        model = Shelf
        stream = "both"
        fields = ["name"]
        heard: list[Any] = []

        @classmethod
        def get_registered_models(cls) -> list[Any]:
            return [*super().get_registered_models(), Book]

        @classmethod
        def group_names(cls, instance: Any) -> list[str]:
            cls.heard.append(type(instance))
            return []

    Shelf.objects.create(name="a")
    Book.objects.create(title="b")
    assert Both.heard == [Shelf, Book]


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({}, "has no model"),
        ({"stream": "s", "fields": ["name"]}, "has no model"),
        ({"model": Shelf, "stream": "s"}, "has neither fields nor exclude"),
        ({"model": Shelf, "stream": "s", "fields": "name"}, "has text as fields"),
        ({"model": Shelf, "stream": "s", "exclude": "name"}, "has text as exclude"),
        ({"model": "shelves.Nothing", "stream": "s", "fields": ["name"]}, "'shelves.Nothing', which does not exist"),
        ({"model": "nowhere.Book", "stream": "s", "fields": ["name"]}, "'nowhere.Book', which does not exist"),
        ({"model": "Book", "stream": "s", "fields": ["name"]}, "'Book', which does not exist"),
        ({"model": int, "stream": "s", "fields": ["name"]}, "which is not a model with a table"),
    ],
)
def test_a_binding_that_cannot_work_is_an_error_that_names_it(attributes: dict[str, Any], problem: str) -> None:
    known = list(BindingMetaclass.binding_classes)
    with pytest.raises(ValueError, match=r"the binding .*test_registry\.Shelves has") as caught:
        define(**attributes)
    assert problem in str(caught.value)
    assert BindingMetaclass.binding_classes == known


def test_an_error_in_one_binding_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BindingMetaclass, "register_immediately", False)
    define(stream="s", fields=["name"])
    with pytest.raises(ValueError, match="has no model"):
        BindingMetaclass.register_all()
    assert BindingMetaclass.register_immediately is False
    BindingMetaclass.binding_classes.pop()


@pytest.mark.parametrize(
    "call",
    [
        lambda: Binding.group_names(None),
        lambda: Binding().serialize(None, "create"),
        lambda: Binding.encode("s", {}),
        lambda: Binding().deserialize(None),
        lambda: Binding().has_permission(None, "create", None),
        lambda: Binding().create({}),
        lambda: Binding().update(1, {}),
    ],
)
def test_what_a_subclass_has_to_say_is_said_in_the_error(call: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"channels\.binding\.base\.Binding"):
        call()
