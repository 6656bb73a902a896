"""Tables and texts for a terminal."""

from __future__ import annotations

from channels.operations.tables import plural, printable, table


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("name", "n"), [("a", "100"), ("longer", "")]) == ["name    n", "a       100", "longer"]


def test_a_number_has_its_noun() -> None:
    assert [plural(n, "message") for n in (0, 1, 2)] == ["0 messages", "1 message", "2 messages"]


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert printable("äöü 1\x1b[2J\n\u202e") == "äöü 1\\x1b[2J\\n\\u202e"
