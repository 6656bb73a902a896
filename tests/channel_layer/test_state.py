"""`channel_layer.state`: what changed, and carrying it out."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.state import changes, keeps_state, merged, size_of


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (None, None, {}),
        ({"a": b"1"}, {"a": b"1"}, {}),
        ({"a": b"1"}, {"a": b"2", "b": b""}, {"a": b"2", "b": b""}),
        ({"a": b"1", "b": b"2"}, {"b": b"2"}, {"a": None}),
        ({"a": b"1"}, None, {"a": None}),
        (b"junk", {"a": b"1"}, {"a": b"1"}),
    ],
)
def test_changes_name_what_differs_and_are_carried_out_by_merging(before: Any, after: Any, changed: Any) -> None:
    assert changes(before, after) == changed
    if type(before) is not bytes:
        assert merged(before, changed, 100) == (after or {})


def test_what_two_change_side_by_side_is_kept_key_by_key() -> None:
    kept = {"a": b"0", "b": b"0", "c": b"0"}
    one, other = changes(kept, kept | {"a": b"1", "c": b"1"}), changes(kept, kept | {"b": b"2", "c": b"2"})
    assert merged(merged(kept, one, 100), other, 100) == {"a": b"1", "b": b"2", "c": b"2"}
    assert kept == {"a": b"0", "b": b"0", "c": b"0"}


@pytest.mark.parametrize("state", ["text", {"a": "text"}, {1: b""}, [b"a"]])
def test_what_is_no_state_is_refused_on_both_sides(state: Any) -> None:
    with pytest.raises(TypeError):
        changes({}, state)
    with pytest.raises(ValueError, match="bytes"):
        merged({}, state, 100)


def test_the_limit_counts_keys_and_values_and_refuses_all_or_nothing() -> None:
    assert size_of(merged({"a": b"12"}, {"b": b"34"}, 6)) == 6
    with pytest.raises(ValueError, match="it is 6 bytes, allowed are 5 bytes"):
        merged({"a": b"12"}, {"b": b"34"}, 5)
    assert merged({"a": b"12"}, {"a": None, "b": b"3456"}, 5) == {"b": b"3456"}


@pytest.mark.parametrize(
    ("name", "keeps"),
    [("daphne.x!s.y", True), ("daphne.x!y", False), ("wsgi.x!sy", False), ("s.y", False), ("chat", False)],
)
def test_a_channel_says_whether_its_connection_keeps_state(name: str, keeps: bool) -> None:
    assert keeps_state(name) is keeps
