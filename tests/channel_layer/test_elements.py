"""Counting without decoding."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channel_layer.elements import has_more_elements

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


def elements(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(elements, value.values()))
    return 1 + sum(map(elements, value)) if isinstance(value, list) else 1


def is_counted_right(value: Any) -> bool:
    count, data = elements(value), msgpack.packb(value)
    return not has_more_elements(data, count) and has_more_elements(data, count - 1)


@given(values)
def test_every_element_counts_once(value: Any) -> None:
    assert is_counted_right([value])


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_lengths_of_every_width_are_read(length: int) -> None:
    for value in ("x" * length, bytes(length), [0] * length, dict.fromkeys(map(str, range(length)))):
        assert is_counted_right(["before", value, "after"])


def test_numbers_of_every_width_are_read() -> None:
    for number in (0.5, *(sign << bits for bits in range(63) for sign in (1, -1))):
        assert is_counted_right([number, number])
    float32 = b"\x92\xca" + bytes(4) + b"\xca" + bytes(4)
    assert not has_more_elements(float32, 3)
    assert has_more_elements(float32, 2)


@pytest.mark.parametrize("head", [b"\xdc\x10\x00", b"\xdd\x00\x00\x10\x00", b"\xde\x10\x00", b"\xdf\x00\x00\x10\x00"])
def test_what_is_claimed_counts_together(head: bytes) -> None:
    assert has_more_elements(head * 3, 0x2FFF)
    assert not has_more_elements(head * 3, 0x3000)


@pytest.mark.parametrize("data", [b"", b"\xc1" + b"\x00" * 9, b"\xd4\x01" + b"\x00" * 9, b"\xc4", b"\xdb\xff", b"\xdd"])
def test_what_is_not_valid_is_left_to_the_decoder(data: bytes) -> None:
    assert not has_more_elements(data, 1)
