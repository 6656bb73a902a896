"""The last events of a connection."""

from __future__ import annotations

import sys
import time

from interface_server.websocket.recent import KEPT, RECEIVED, SENT, Recent


def test_the_last_events_are_kept_in_order_with_time_and_size() -> None:
    before = time.time()
    recent = Recent()
    recent.add(RECEIVED, 5)
    recent.add(SENT, 70_000)
    [first, second] = recent.events()
    assert before <= first[0] <= second[0] <= time.time()
    assert (first[1:], second[1:]) == (("frame from client", 5), ("frame to client", 70_000))


def test_only_so_many_are_kept_and_take_little_room() -> None:
    recent = Recent()
    for number in range(1000):
        recent.add(RECEIVED, number)
        assert [size for _, _, size in recent.events()] == list(range(max(0, number - KEPT + 1), number + 1))
        assert sys.getsizeof(recent) + sys.getsizeof(recent._packed) < 512
