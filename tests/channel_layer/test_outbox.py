"""Collecting sends while a consumer runs."""

from __future__ import annotations

import contextvars
import threading

import pytest

from channel_layer.channel import Channel, Group
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outbox import Outbox, current_outbox, stop_collecting
from tests.fixtures.outboxes import collecting


def test_outside_a_block_there_is_no_outbox() -> None:
    assert current_outbox() is None
    with collecting([]) as outbox:
        assert current_outbox() is outbox
    assert current_outbox() is None


def test_blocks_nest() -> None:
    with collecting([]) as outer:
        with collecting([]) as inner:
            assert current_outbox() is inner
        assert current_outbox() is outer


def test_an_error_inside_a_block_ends_the_block() -> None:
    with pytest.raises(ZeroDivisionError), collecting([]):
        raise ZeroDivisionError
    assert current_outbox() is None


def test_sends_are_collected_in_order_with_their_layer() -> None:
    one, other = MemoryChannelLayer(), MemoryChannelLayer()
    with collecting([]) as outbox:
        Channel("a", channel_layer=one).send({"n": 1})
        Group("b", channel_layer=other).send({"n": 2})
    assert [(layer, item.target, item.group) for layer, item in outbox] == [(one, "a", False), (other, "b", True)]
    assert one.receive(["a"]) == (None, None)


def test_another_thread_has_its_own_context() -> None:
    seen: list[Outbox | None] = []
    with collecting([]):
        thread = threading.Thread(target=contextvars.Context().run, args=(lambda: seen.append(current_outbox()),))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_copy_of_the_context_may_stop_collecting() -> None:
    def inside() -> Outbox | None:
        stop_collecting()
        return current_outbox()

    with collecting([]) as outbox:
        assert contextvars.copy_context().run(inside) is None
        assert current_outbox() is outbox
