from __future__ import annotations

import pytest

from workers.channel_filter import filter_channels

CHANNELS = {"http.request", "websocket.connect", "websocket.receive", "jobs"}


def test_without_globs_all_channels_are_taken() -> None:
    assert filter_channels(CHANNELS) == sorted(CHANNELS)


def test_only_what_matches_one_of_the_globs_is_taken() -> None:
    assert filter_channels(CHANNELS, only=["websocket.*", "jobs"]) == ["jobs", "websocket.connect", "websocket.receive"]


def test_the_order_is_the_one_given() -> None:
    assert filter_channels(["b", "c", "a"], exclude=["c"]) == ["b", "a"]


def test_exclusion_wins_over_selection() -> None:
    assert filter_channels(CHANNELS, only=["websocket.*"], exclude=["*.receive"]) == ["websocket.connect"]


def test_globs_tell_upper_from_lower_case() -> None:
    assert filter_channels(["Jobs", "jobs"], only=["J*"]) == ["Jobs"]


def test_leaving_nothing_is_an_error_that_names_globs_and_channels() -> None:
    with pytest.raises(ValueError, match=r"only=\['nothing'\].*'jobs'"):
        filter_channels(CHANNELS, only=["nothing"])
