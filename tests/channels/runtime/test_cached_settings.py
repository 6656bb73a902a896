"""`channels.runtime.cached_settings`: found out once, and again when the setting is another."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import override_settings

from channels.runtime.cached_settings import cached_until_set


def test_it_is_found_out_once_and_again_when_a_named_setting_changes() -> None:
    calls = []

    @cached_until_set("FORCE_SCRIPT_NAME")
    def prefix() -> str | None:
        calls.append(1)
        return settings.FORCE_SCRIPT_NAME

    assert [prefix(), prefix(), len(calls)] == [None, None, 1]
    with override_settings(FORCE_SCRIPT_NAME="/app"):
        assert [prefix(), prefix(), len(calls)] == ["/app", "/app", 2]
    with override_settings(LANGUAGE_CODE="cs"):
        assert [prefix(), len(calls)] == [None, 3]
        assert [prefix(), len(calls)] == [None, 3]


def test_an_error_is_not_kept() -> None:
    answers = iter([ValueError("not yet"), 7])

    @cached_until_set("FORCE_SCRIPT_NAME")
    def answer() -> int:
        found = next(answers)
        if isinstance(found, ValueError):
            raise found
        return found

    with pytest.raises(ValueError, match="not yet"):
        answer()
    assert answer() == 7
