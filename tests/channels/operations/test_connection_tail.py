"""The events of one connection as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from channel_layer.memory import MemoryChannelLayer
from channel_layer.reports import Report
from channels.operations import connection_tail
from channels.operations.asking import Answers, AskingError
from channels.operations.connection_tail import KEPT, ConnectionTail, Event, for_machines

SERVER = Report("daphne.a", {"kind": "web"}, 0.0)


def event(number: int) -> list[Any]:
    return [float(number), "frame from client", number]


def page(*numbers: int, row: Any = ...) -> Answers:
    return Answers({"daphne.a": [{"row": {"events": [event(n) for n in numbers]} if row is ... else row}]})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Answers]]:
    """Answers of the web server, the next one first; all are used up."""
    waiting: list[Answers] = []
    monkeypatch.setattr(connection_tail, "ask", lambda *_, **__: waiting.pop(0))
    yield waiting
    assert waiting == []


def seen(tail: ConnectionTail) -> list[int]:
    return [event.size for event in tail.look()]


def test_events_are_shown_once(answers: list[Answers]) -> None:
    answers += [page(1, 2), page(1, 2), page(1, 2, 3, 4), page(3, 4, 5)]
    tail = ConnectionTail(MemoryChannelLayer(), SERVER, "daphne.a!x")
    assert [seen(tail) for _ in range(3)] == [[], [3, 4], [5]]
    assert not tail.has_gap


def test_events_that_may_be_missing_are_a_gap(answers: list[Answers]) -> None:
    answers += [page(1), page(*range(5, 5 + KEPT)), page(*range(6, 6 + KEPT))]
    tail = ConnectionTail(MemoryChannelLayer(), SERVER, "daphne.a!x")
    assert seen(tail) == list(range(5, 5 + KEPT))
    assert tail.has_gap
    assert seen(tail) == [5 + KEPT]
    assert not tail.has_gap


def test_events_kept_from_the_first_question_on_have_no_gap(answers: list[Answers]) -> None:
    answers += [page(row={"events": None}), page(1, 2)]
    tail = ConnectionTail(MemoryChannelLayer(), SERVER, "daphne.a!x")
    assert (seen(tail), tail.has_gap) == ([1, 2], False)


def test_a_connection_that_is_closed_or_a_silent_server_ends_it(answers: list[Answers]) -> None:
    answers += [page(1), page(row=None)]
    tail = ConnectionTail(MemoryChannelLayer(), SERVER, "daphne.a!x")
    with pytest.raises(AskingError, match="it is closed"):
        tail.look()
    answers += [Answers({}, ["daphne.a did not answer"])]
    with pytest.raises(AskingError, match="did not answer"):
        tail.look()


def test_machines_get_an_object() -> None:
    assert for_machines(Event(1.23456, "opened", 0)) == {"at": 1.235, "event": "opened", "size": 0}
