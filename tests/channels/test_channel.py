"""`channels.channel`: the names that applications import; their own tests are the ground floor's."""

from __future__ import annotations

import channels
import channels.channel


def test_they_are_the_ones_of_the_package() -> None:
    assert channels.channel.Channel is channels.Channel
    assert channels.channel.Group is channels.Group
