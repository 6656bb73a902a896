"""The setting CHANNEL_CHECKPOINT_CLASSES; what follows from it for checkpoints is tested with these."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from channels import checks
from channels.consumer import AsyncConsumer
from channels.hosting.checkpoint_classes import ALWAYS, allowed, may_be


def found(value: Any) -> list[str]:
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=value):
        return [f"{message.id} {message.msg}" for message in run_checks(tags=[checks.TAG])]


def test_modules_and_classes_that_exist_are_no_reason_to_complain() -> None:
    assert found(["decimal", "tests.channels", "django.contrib.auth.models.User"]) == []
    assert found(None) == found(()) == []


@pytest.mark.parametrize("value", ["decimal", [1], 5, {"a": 1}], ids=str)
def test_a_value_that_is_no_list_of_paths_is_named_and_lets_nothing_be_loaded(value: Any) -> None:
    text = f"CHANNEL_CHECKPOINT_CLASSES must be a list of dotted paths of modules and classes, or None, not {value!r}"
    assert found(value) == [f"channels.E006 {text}"]
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=value), pytest.raises(ImproperlyConfigured):
        allowed()


@pytest.mark.parametrize("path", ["nowhere", "decimal.Nothing", "", "decimal."])
def test_an_entry_that_does_not_exist_is_named(path: str) -> None:
    complaint = f"CHANNEL_CHECKPOINT_CLASSES has {path!r}, which cannot be imported; name a module or a class"
    assert found(["decimal", path]) == [f"channels.E006 {complaint}"]


def test_a_path_is_not_a_prefix_of_words() -> None:
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=["channels.cons"]):
        assert not may_be(AsyncConsumer)
    with override_settings(CHANNEL_CHECKPOINT_CLASSES=["channels.consumer"]):
        assert may_be(AsyncConsumer)


def test_what_may_always_be_named_runs_no_code_of_its_arguments() -> None:
    assert not {path for path in ALWAYS if path.rpartition(".")[2] in ("eval", "exec", "getattr", "type", "__import__")}
