"""`routing.signature`: whether a consumer can be called."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import pytest

from routing import passes_arguments
from routing.signature import complaint, describe

from .consumers import ByChannel, anything, in_room, later, plain

HERE = "tests.routing.consumers"


@pytest.mark.parametrize(
    ("consumer", "names"),
    [(plain, ()), (in_room, ("room",)), (anything, ("a", "b")), (later, ("room",)), (ByChannel, ("x",))],
)
def test_one_that_takes_what_its_route_gives_is_fine(consumer: Any, names: tuple[str, ...]) -> None:
    assert complaint(consumer, names) is None


def test_one_that_does_not_take_a_group_is_told_how_it_will_be_called() -> None:
    text = complaint(plain, ("room", "floor"))
    assert text == (
        f"the consumer {HERE}.plain takes (message) and will be called with (message, room=…, floor=…): "
        "got an unexpected keyword argument 'room'"
    )


def test_one_that_misses_an_argument_is_told_which() -> None:
    text = complaint(in_room, ())
    assert text is not None
    assert text.startswith(f"the consumer {HERE}.in_room takes (message, room) and will be called with (message): ")
    assert "missing a required argument: 'room'" in text


def test_one_without_a_message_is_refused() -> None:
    def nothing() -> None: ...

    assert "too many positional arguments" in (complaint(nothing, ()) or "")


def test_a_bound_method_and_a_partial_are_looked_at_as_they_are_called() -> None:
    class Consumers:
        def room(self, message: Any, room: str) -> None: ...

    assert complaint(Consumers().room, ("room",)) is None
    assert complaint(partial(in_room, room="lobby"), ()) is None
    assert complaint(Consumers().room, ()) is not None


def test_objects_are_looked_at_by_their_call_method() -> None:
    class Consumer:
        def __call__(self, message: Any, room: str) -> None: ...

    assert complaint(Consumer(), ("room",)) is None
    assert "missing a required argument: 'room'" in (complaint(Consumer(), ()) or "")


def test_what_a_decorator_wraps_is_not_held_against_it() -> None:
    @wraps(in_room)
    def adds_the_room(message: Any, **kwargs: Any) -> None:
        in_room(message, room="lobby")

    assert complaint(adds_the_room, ()) is None


def test_a_decorator_that_says_it_passes_arguments_on_is_looked_through() -> None:
    @passes_arguments
    @passes_arguments
    @wraps(in_room)
    def inner(*args: Any, **kwargs: Any) -> None:
        in_room(*args, **kwargs)

    assert complaint(inner, ("room",)) is None
    assert "missing a required argument: 'room'" in (complaint(inner, ()) or "")


def test_callables_written_in_c_are_taken_at_their_word() -> None:
    assert complaint(dict.update, ("a",)) is None


def test_a_consumer_is_described_by_its_path_as_far_as_it_has_one() -> None:
    assert describe(plain) == f"{HERE}.plain"
    assert describe(ByChannel.inner) == f"{HERE}.ByChannel.inner"
    assert describe(5) == "5"
