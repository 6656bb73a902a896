"""Consent to what cannot be undone."""

from __future__ import annotations

import io
import sys

import pytest
from django.core.management.base import BaseCommand, CommandError

from channels.operations.consent import consents


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def asked(monkeypatch: pytest.MonkeyPatch, typed: str | None, **options: bool) -> tuple[bool, str]:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
    command = BaseCommand(stderr=said, no_color=True)
    return consents(command, {"yes": False, "json": False, **options}, "Break it?"), said.getvalue()


@pytest.mark.parametrize(
    ("typed", "expected"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_in_a_terminal_a_question_is_asked(monkeypatch: pytest.MonkeyPatch, typed: str, expected: bool) -> None:
    assert asked(monkeypatch, typed) == (expected, "Break it? [y/N] ")


def test_what_was_said_beforehand_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, None, yes=True) == (True, "")


@pytest.mark.parametrize(("typed", "json"), [(None, False), ("y\n", True)], ids=["no terminal", "for machines"])
def test_without_somebody_to_ask_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, typed: str | None, json: bool
) -> None:
    with pytest.raises(CommandError, match=r"Break it\? There is no terminal to ask at; say it beforehand") as caught:
        asked(monkeypatch, typed, json=json)
    assert caught.value.returncode == 2
