"""Times by which processes look after a store."""

from __future__ import annotations

import pytest

from channel_layer.upkeep import BEATS, GONE_SECONDS, gone_after


@pytest.mark.parametrize(("presence", "seconds"), [(1, GONE_SECONDS), (30, GONE_SECONDS), (60, 120), (90, 180)])
def test_a_process_is_passed_over_long_before_it_is_forgotten(presence: float, seconds: float) -> None:
    assert gone_after(presence) == seconds
    assert presence / BEATS < presence < gone_after(presence)
