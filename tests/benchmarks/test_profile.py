"""Tests of benchmarks.profile."""

from __future__ import annotations

from benchmarks.profile import top_functions


def test_own_and_total_shares_are_summed_over_stacks():
    listing = top_functions(["main (a.py);read (b.py) 3", "main (a.py);read (b.py);read (b.py) 1", "main (a.py) 4"])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in listing.splitlines()]
    assert rows[0] == ["8 samples"]
    assert sorted(rows[4:]) == [["main (a.py)", "50.0%", "100.0%"], ["read (b.py)", "50.0%", "50.0%"]]


def test_no_samples_make_an_empty_table():
    assert top_functions([]).startswith("0 samples")
