"""Messages that wait, in words and for machines."""

from __future__ import annotations

import pytest

from channel_layer.inspection import Waiting
from channels.operations.contents import for_machines, in_words, kind


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", "text of 3"),
        (b"ab", "bytes of 2"),
        ([1], "list of 1"),
        ({"a": 1, "b": 2}, "dict of 2"),
        (None, "nothing"),
        (True, "bool"),
        (2.5, "float"),
    ],
)
def test_a_value_has_a_kind_and_perhaps_a_size(value: object, expected: str) -> None:
    assert kind(value) == expected


def test_what_cannot_be_read_has_a_reason_in_its_place() -> None:
    waiting = Waiting("m", "mail", "", 80, 1.25, None, None, "it is encrypted")
    assert in_words(waiting, content=True) == "mail, 80 bytes, cannot be read: it is encrypted"
    assert for_machines(waiting, content=True) == {
        "channel": "mail", "size": 80, "age": 1.25, "unreadable": "it is encrypted",
    }  # fmt: skip


def test_a_message_to_a_group_names_it() -> None:
    waiting = Waiting("m", "process!", "team", 1, 0.0, {}, None)
    assert in_words(waiting, content=False) == "to group team of process!, 1 byte, {}"
    assert for_machines(waiting, content=False)["group"] == "team"
