from __future__ import annotations

import time

from channel_layer.server_clock import ServerClock


def test_it_begins_with_the_time_of_this_machine() -> None:
    before = time.time() * 1000
    assert before - 1 <= ServerClock().ms() <= time.time() * 1000 + 1


def test_it_goes_on_from_what_the_server_said(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    now = [100.0]
    monkeypatch.setattr("channel_layer.server_clock.time.monotonic", lambda: now[0])
    clock = ServerClock()
    clock.learn(5_000_000.0)
    now[0] += 2.5
    assert clock.ms() == 5_002_500.0
