"""`channels.decorating`: decorators around consumers of any kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.utils.decorators import method_decorator

from channels.decorating import consumer_decorator, message_of
from routing import Router, RoutingError, route

from .messages import websocket


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def around(events: list[str]) -> Any:
    """A decorator that writes down what happens."""

    @contextmanager
    def noting(message: Any) -> Iterator[None]:
        events.append("in")
        try:
            yield
        except RuntimeError:
            events.append("error")
            raise
        events.append("out")

    return consumer_decorator(noting, "noting")


def test_it_runs_around_a_function_and_returns_what_it_returns(layer: Any, around: Any, events: list[str]) -> None:
    @around
    def consumer(message: Any, word: str) -> str:
        events.append(word)
        return "returned"

    assert consumer(websocket(layer), word="hello") == "returned"
    assert events == ["in", "hello", "out"]


def test_it_works_on_methods_directly_and_through_method_decorator(layer: Any, around: Any, events: list[str]) -> None:
    class Consumer:
        @around
        def direct(self, message: Any) -> str:
            return "direct"

        @method_decorator(around)
        def adapted(self, message: Any) -> str:
            return "adapted"

    assert Consumer().direct(websocket(layer)) == "direct"
    assert Consumer().adapted(websocket(layer)) == "adapted"
    assert events == ["in", "out"] * 2


def test_it_runs_around_a_coroutine_in_a_thread(layer: Any) -> None:
    threads = []

    @contextmanager
    def noting(message: Any) -> Iterator[None]:
        threads.append(threading.current_thread())
        yield
        threads.append(threading.current_thread())

    @consumer_decorator(noting, "noting")
    async def consumer(message: Any) -> str:
        threads.append(threading.current_thread())
        return "returned"

    assert asyncio.run(consumer(websocket(layer))) == "returned"
    here = threading.current_thread()
    assert [thread is here for thread in threads] == [False, True, False]


def test_an_error_passes_through_it(layer: Any, around: Any, events: list[str]) -> None:
    @around
    def fails(message: Any) -> None:
        raise RuntimeError("mine")

    @around
    async def fails_later(message: Any) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fails(websocket(layer))
    with pytest.raises(RuntimeError, match="mine"):
        asyncio.run(fails_later(websocket(layer)))
    assert events == ["in", "error"] * 2


def test_the_router_sees_what_the_consumer_takes(around: Any) -> None:
    @around
    def needs_a_room(message: Any, room: str) -> None: ...

    with pytest.raises(RoutingError, match="missing a required argument: 'room'"):
        Router([route("a", needs_a_room)])


def test_it_keeps_names_and_docstrings(around: Any) -> None:
    @around
    def consumer(message: Any) -> None:
        """What it does."""

    assert (consumer.__name__, consumer.__doc__) == ("consumer", "What it does.")
    assert around.__name__ == "noting"


class TestMessageOf:
    def test_it_is_the_first_argument_or_the_one_behind_self(self, layer: Any) -> None:
        message = websocket(layer)
        assert message_of("x", (message,), {}) is message
        assert message_of("x", (object(), message), {}) is message
        assert message_of("x", (), {"message": message}) is message

    @pytest.mark.parametrize("args", [(), ("text",), (1, 2)])
    def test_without_one_the_decorator_is_named(self, args: Any) -> None:
        with pytest.raises(ValueError, match=r"^@mine was called without a message; it decorates consumers"):
            message_of("mine", args, {})

    def test_a_third_argument_is_not_looked_at(self, layer: Any) -> None:
        with pytest.raises(ValueError, match="without a message"):
            message_of("mine", (1, 2, websocket(layer)), {})
