"""Types of arguments."""

from __future__ import annotations

import argparse

import pytest

from channels.operations.arguments import at_least_one, seconds


def test_a_whole_number_above_0_is_taken() -> None:
    assert at_least_one("12") == 12


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of 1 or more"):
        at_least_one(text)


def test_a_time_is_above_0() -> None:
    assert seconds("1.5") == 1.5
    for text in ("0", "-1", "x", "nan", "inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a number of seconds above 0"):
            seconds(text)
