"""Tests of benchmarks.studies.rows."""

from __future__ import annotations

import pytest

from benchmarks.studies.rows import (
    Unit,
    at_least,
    at_most,
    kibibytes,
    known,
    mebibytes,
    megabytes_per_second,
    microseconds,
    middle,
    milliseconds,
    rate,
    share,
)


def test_a_figure_that_should_be_high_says_whether_it_is() -> None:
    assert at_least("joins", 5_000, 5_000, rate) == ["joins", "5,000/s", "≥ 5,000/s", "reached"]
    assert at_least("joins", 4_900, 5_000, rate)[-1] == "missed"


def test_a_figure_that_should_be_low_says_whether_it_is() -> None:
    assert at_most("idle", 0.005, 0.005, share) == ["idle", "0.5%", "≤ 0.5%", "reached"]
    assert at_most("idle", 0.0051, 0.005, share)[-1] == "missed"


def test_a_figure_without_a_target_has_no_result() -> None:
    assert known("p99", 0.0125, milliseconds) == ["p99", "12.5 ms", "", ""]


def test_the_middle_of_the_rounds_is_their_median() -> None:
    assert middle(iter([9.0, 1.0, 2.0])) == 2.0


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (microseconds, 0.000_025_34, "25.3 µs"),
        (microseconds, 0.000_425_4, "425 µs"),
        (share, 0.934, "93%"),
        (share, 0.0042, "0.4%"),
        (kibibytes, 6_656, "6.5 KiB"),
        (mebibytes, 54 * 1_048_576, "54 MiB"),
        (megabytes_per_second, 142_400_000, "142 MB/s"),
        (megabytes_per_second, 2_840_000, "2.8 MB/s"),
    ],
)
def test_figures_are_written_in_units_people_read(unit: Unit, value: float, text: str) -> None:
    assert unit(value) == text
