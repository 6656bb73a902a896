"""Tests of benchmarks.section."""

from __future__ import annotations

from benchmarks.section import Section


def test_a_section_is_a_heading_its_text_its_table_and_its_notes() -> None:
    section = Section("Idle", "What was *done*.", [["what", "figure"], ["server", "0.1%"]], {}, ["One.", "Two."])
    assert section.document().split("\n\n") == [
        "## Idle",
        "What was *done*.",
        "| what   | figure |\n| ------ | -----: |\n| server |   0.1% |",
        "- One.\n- Two.",
    ]


def test_without_notes_it_ends_with_its_table() -> None:
    assert Section("Idle", "Text.", [["a"], ["b"]], {}).document().endswith("| b |")
