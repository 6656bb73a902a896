"""The test project with an application whose models are bound to, and no binding left behind."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.test import override_settings

from channels import Group
from channels.binding.registry import BindingMetaclass

from ..messages import replies

SHELVES = "tests.channels.binding.shelves"


@contextlib.contextmanager
def tables(*made: type[models.Model]) -> Iterator[None]:
    """The tables of some models, until the end of the block."""
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in reversed(made):
            editor.delete_model(model)


@pytest.fixture(scope="package", autouse=True)
def _shelves(_project: None) -> Iterator[None]:
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, SHELVES]):
        from .shelves.models import MODELS

        with tables(*MODELS):
            yield


@pytest.fixture(autouse=True)
def _clean(database: None) -> Iterator[None]:
    """Forget the bindings that a test defines, and its rows."""
    before = len(BindingMetaclass.binding_classes)
    yield
    for binding in BindingMetaclass.binding_classes[before:]:
        for model in binding.get_registered_models():
            pre_save.disconnect(binding.pre_save_receiver, sender=model)
            post_save.disconnect(binding.post_save_receiver, sender=model)
            pre_delete.disconnect(binding.pre_delete_receiver, sender=model)
            post_delete.disconnect(binding.post_delete_receiver, sender=model)
    del BindingMetaclass.binding_classes[before:]
    from .shelves.models import MODELS

    for model in reversed(MODELS):
        model._default_manager.all().delete()


@pytest.fixture
def hear(layer: Any) -> Callable[..., list[Any]]:
    """``hear("group", ...)`` joins the groups; ``hear()`` gives what came, decoded, with its stream."""

    def hear(*groups: str) -> list[Any]:
        for group in groups:
            Group(group).add("daphne.test!watcher")
        return [json.loads(reply["text"]) for reply in replies(layer)]

    return hear
