"""Pauses between attempts."""

from __future__ import annotations

import random

import pytest

from channel_layer.backoff import SPREAD, Backoff, jittered


@pytest.fixture
def middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)


def test_pauses_grow_up_to_the_longest_and_begin_anew(middle: None) -> None:
    pauses = Backoff(0.1, 0.5)
    assert pauses.fresh
    assert [pauses.next() for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    assert not pauses.fresh
    pauses.reset()
    assert pauses.fresh
    assert pauses.next() == 0.1


def test_pauses_are_spread_evenly_and_no_further() -> None:
    pauses = [jittered(1.0) for _ in range(1000)]
    assert 1 - SPREAD <= min(pauses) < 1 - SPREAD / 2
    assert 1 + SPREAD / 2 < max(pauses) <= 1 + SPREAD
