from __future__ import annotations

import pytest

from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.outcome import Fate, Outcome, fates

A, B, C, D = ITEMS = [Outgoing(name, b"") for name in "abcd"]


def test_what_a_send_returned_was_refused_and_the_rest_stored() -> None:
    assert fates(ITEMS, [B], None) == [Fate.STORED, Fate.FULL, Fate.STORED, Fate.STORED]


@pytest.mark.parametrize(("uncertain", "fate"), [(False, Fate.UNSENT), (True, Fate.UNKNOWN)])
def test_an_error_that_tells_no_more_concerns_all_alike(uncertain: bool, fate: Fate) -> None:
    assert fates(ITEMS, (), LayerUnavailable("here", "gone", uncertain)) == [fate] * 4


def test_an_error_may_tell_the_fate_of_each() -> None:
    error = LayerUnavailable("here", "gone", outcome=Outcome(refused=[D], unsent=[C], unknown=[A]))
    assert fates(ITEMS, (), error) == [Fate.UNKNOWN, Fate.STORED, Fate.UNSENT, Fate.FULL]
