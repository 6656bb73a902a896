"""Reaching for a layer without keeping what that opened."""

from __future__ import annotations

import asyncio
import threading

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.reaching import areach
from tests.conftest import wait_until


class Noting(MemoryChannelLayer):
    """Notes the thread in which it is reached for: what a layer opens there ends with the thread."""

    thread = threading.main_thread()

    def check(self) -> None:
        self.thread = threading.current_thread()


def test_the_event_loop_is_not_held_up_and_the_thread_that_is_ends() -> None:
    layer = Noting()
    asyncio.run(areach(layer))
    assert layer.thread is not threading.main_thread()
    wait_until(lambda: not layer.thread.is_alive(), "the end of the thread")


def test_a_layer_that_is_away_is_told_of_in_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryChannelLayer):
        def check(self) -> None:
            raise LayerUnavailable("redis://here", "it says wait.")

    asyncio.run(areach(Away()))
    assert caplog.messages == [
        "channel layer at redis://here is unavailable: it says wait; starting anyway and trying again until it answers"
    ]
