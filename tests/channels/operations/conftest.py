"""Patience for a machine that is busy with other things."""

from __future__ import annotations

import pytest

from channels.operations import reaching

ANSWER_SECONDS = reaching.ANSWER_SECONDS


@pytest.fixture(autouse=True)
def time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no layer for away that is only slow."""
    monkeypatch.setattr(reaching, "ANSWER_SECONDS", 20.0)
