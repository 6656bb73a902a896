"""`channels.utils`."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from channels.utils import name_that_thing

HERE = "tests.channels.test_utils"


def consumer(message: Any) -> None: ...


class Consumer:
    def method(self, message: Any) -> None: ...

    def __call__(self, message: Any) -> None: ...


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (consumer, f"{HERE}.consumer"),
        (functools.partial(consumer, 1), f"{HERE}.consumer"),
        (Consumer, f"{HERE}.Consumer"),
        (Consumer(), f"{HERE}.Consumer"),
        (Consumer().method, f"{HERE}.Consumer.method"),
        ("text", "builtins.str"),
    ],
)
def test_everything_has_a_name(thing: Any, name: str) -> None:
    assert name_that_thing(thing) == name
