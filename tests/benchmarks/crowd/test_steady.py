"""Tests of benchmarks.crowd.steady, against a real WebSocket server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from websockets.sync.server import ServerConnection

from benchmarks.crowd import steady as module
from benchmarks.crowd.sockets import LoadError
from benchmarks.crowd.steady import steady

from .conftest import Opened


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.02)
    monkeypatch.setattr(module, "LEAST_TAIL", 0.2)


def answering(answer: Callable[[int, str], list[str]]) -> Callable[[ServerConnection], None]:
    def handle(connection: ServerConnection) -> None:
        for number, text in enumerate(connection):
            for reply in answer(number, str(text)):
                connection.send(reply)

    return handle


def test_every_answer_and_the_longest_wait_of_each_socket_are_counted(opened: Opened) -> None:
    load = steady(opened(answering(lambda number, text: [text]), 3), 0.2)
    assert load.sent == len(load.latencies) >= 6
    assert (load.lost, load.closed) == (0, 0)
    assert len(load.longest) == 3
    assert max(load.longest) == max(load.latencies)


def test_frames_without_an_answer_are_lost_and_the_others_are_not(opened: Opened) -> None:
    load = steady(opened(answering(lambda number, text: [] if number == 1 else [text]), 2), 0.3)
    assert load.lost == 2
    assert len(load.latencies) == load.sent - 2


def test_a_socket_that_is_closed_is_counted_and_the_others_go_on(opened: Opened) -> None:
    def handle(connection: ServerConnection) -> None:
        for number, text in enumerate(connection):
            if number == 1 and "socket 0" in str(text):
                return
            connection.send(text)

    load = steady(opened(handle, 2), 0.3)
    assert load.closed == 1
    assert load.lost == 1
    assert len(load.latencies) > 3


@pytest.mark.parametrize("answer", [lambda text: [text, text], lambda text: ["else"]], ids=["twice", "wrong"])
def test_an_answer_that_comes_twice_or_is_wrong_fails(opened: Opened, answer: Callable[[str], list[str]]) -> None:
    with pytest.raises(LoadError, match="got what it did not wait for"):
        steady(opened(answering(lambda number, text: answer(text)), 1), 0.3)


def test_answers_in_another_order_fail(opened: Opened) -> None:
    kept: list[str] = []

    def answer(number: int, text: str) -> list[str]:
        kept.append(text)
        return [kept[1], kept[0]] if number == 1 else []

    with pytest.raises(LoadError, match="frame 0"):
        steady(opened(answering(answer), 1), 0.3)
