"""Tests of benchmarks.figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.figures import (
    advantage,
    kibibytes,
    markdown,
    mebibytes,
    median,
    megabytes_per_second,
    microseconds,
    percentile,
    rate_text,
    ratio_text,
    row,
    share,
    spread,
    time_text,
)


@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.1, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.99, 10), (1, 10)])
def test_a_percentile_is_one_of_the_values(share: float, value: float):
    assert percentile([10, 3, 2, 1, 5, 4, 9, 7, 8, 6], share) == value


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_median_leaves_out_what_is_missing():
    assert median([3, None, 1, 2]) == 2
    assert median([1, 2]) == 1.5
    assert median([None]) is None


def test_the_spread_is_a_share_of_the_median():
    assert spread([90, 100, 110]) == pytest.approx(0.2)
    assert spread([100]) is None


def test_an_advantage_of_two_means_twice_as_fast_either_way():
    assert advantage(200, 100, lower_is_better=False) == 2
    assert advantage(0.001, 0.002, lower_is_better=True) == 2
    assert advantage(None, 100, lower_is_better=False) is None
    assert advantage(100, 0, lower_is_better=False) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (12.34, "12.3/s"), (391.2, "391/s"), (12_345, "12,300/s"), (99_960, "100,000/s"), (999.7, "1,000/s")],
)
def test_rates_have_three_digits(value: float | None, text: str):
    assert rate_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.000_236, "0.24 ms"), (0.0236, "23.6 ms")])
def test_times_are_in_milliseconds(value: float | None, text: str):
    assert time_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (8.44, "8.44 ×"), (25.4, "25 ×")])
def test_ratios_carry_their_sign(value: float | None, text: str):
    assert ratio_text(value) == text


def test_a_figure_that_should_be_high_says_whether_it_is():
    assert row("joins", 5_000, rate_text, least=5_000) == ["joins", "5,000/s", "≥ 5,000/s", "reached"]
    assert row("joins", 4_900, rate_text, least=5_000)[-1] == "missed"


def test_a_figure_that_should_be_low_says_whether_it_is():
    assert row("idle", 0.005, share, most=0.005) == ["idle", "0.5%", "≤ 0.5%", "reached"]
    assert row("idle", 0.0051, share, most=0.005)[-1] == "missed"


def test_a_figure_without_a_target_has_no_result():
    assert row("p99", 0.0125, time_text) == ["p99", "12.5 ms", "", ""]


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
def test_figures_are_written_in_units_people_read(unit: Callable[[float], str], value: float, text: str) -> None:
    assert unit(value) == text


def test_a_table_is_aligned_as_plain_text():
    assert markdown([["a", "b"], ["long", "1"]]) == "| a    | b |\n| ---- | : |\n| long | 1 |"
