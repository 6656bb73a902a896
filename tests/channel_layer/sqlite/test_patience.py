"""Waiting for locks, with a clock of its own."""

from __future__ import annotations

import gc
import sqlite3
import weakref

import pytest

from channel_layer.sqlite import patience as patience_module
from channel_layer.sqlite.patience import CROWDED_SECONDS, LOCK_SECONDS, NEXT_SECONDS, Patience


def busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


class Time:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds < 0.01
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(patience_module, "time", time)
    return time


class Lock:
    """Work that needs a lock which others hold until some time."""

    def __init__(self, time: Time, until: float) -> None:
        self._time, self._until = time, until

    def __call__(self) -> str:
        if self._time.now < self._until:
            raise busy()
        return "done"


class Messages:
    """What a caller has in hand."""


def seconds_until_it_gives_up(time: Time, patience: Patience, until: float = 1e9) -> float:
    before = time.now
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        patience.retry(Lock(time, until), lambda: 7)
    return time.now - before


def test_what_is_freed_in_time_is_waited_for(time: Time) -> None:
    assert Patience().retry(Lock(time, time.now + 0.9 * LOCK_SECONDS), lambda: 7) == "done"
    assert time.now < 1000 + LOCK_SECONDS


def test_those_who_wait_one_after_the_other_wait_no_longer_together(time: Time) -> None:
    patience = Patience()
    assert seconds_until_it_gives_up(time, patience) == pytest.approx(LOCK_SECONDS, abs=0.02)
    for _ in range(5):
        assert seconds_until_it_gives_up(time, patience) == pytest.approx(NEXT_SECONDS, abs=0.02)


def test_it_is_patient_again_after_a_success_and_after_a_while(time: Time) -> None:
    patience = Patience()
    seconds_until_it_gives_up(time, patience)
    assert patience.retry(Lock(time, time.now + NEXT_SECONDS / 2), lambda: 7) == "done"
    assert seconds_until_it_gives_up(time, patience) == pytest.approx(LOCK_SECONDS, abs=0.02)
    time.now += 2 * LOCK_SECONDS
    assert seconds_until_it_gives_up(time, patience) == pytest.approx(LOCK_SECONDS, abs=0.02)


def test_while_others_get_something_done_it_waits_on_but_not_for_ever(time: Time) -> None:
    assert Patience().retry(Lock(time, time.now + 3 * LOCK_SECONDS), lambda: time.now) == "done"
    before = time.now
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Patience().retry(Lock(time, 1e9), lambda: time.now)
    assert CROWDED_SECONDS < time.now - before < CROWDED_SECONDS + 2 * LOCK_SECONDS


def test_another_error_is_raised_at_once(time: Time) -> None:
    def work() -> None:
        raise sqlite3.OperationalError("no such table")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        Patience().retry(work, lambda: 7)
    assert time.now < 1000.001


@pytest.mark.parametrize("seconds", [0.01, 2 * LOCK_SECONDS])
def test_whoever_has_waited_keeps_nothing_for_the_garbage_collector(time: Time, seconds: float) -> None:
    def call() -> weakref.ref[Messages]:
        before = Messages()
        try:
            Patience().retry(Lock(time, time.now + seconds), lambda: 7)
        except sqlite3.OperationalError:
            assert seconds > LOCK_SECONDS
        return weakref.ref(before)

    gc.disable()
    try:
        assert call()() is None
    finally:
        gc.enable()
