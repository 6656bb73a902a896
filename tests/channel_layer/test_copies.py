"""Copies that wait for who asks for them."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

from channel_layer.copies import Copies, Copy
from channel_layer.delivery import Delivery

from .interleaving import Intruder


def to_members(*locals_: str) -> list[Delivery]:
    return [Delivery("process!", {"list": [1]}, None, locals_)]


def test_the_first_gets_it_and_the_others_copies_wait() -> None:
    copies = Copies()
    first = copies.first_of(to_members("a", "b", "c"))
    second, third = copies.take(["other", "process!"]), copies.take(["process!"])
    assert [found and found[0] for found in (first, second, third)] == ["process!a", "process!b", "process!c"]
    assert first is not None
    first[1]["list"].append(2)
    assert second == ("process!b", {"list": [1]})
    assert copies.take(["process!"]) is None


def test_what_is_for_one_channel_or_nobody_leaves_nothing() -> None:
    copies = Copies()
    assert copies.first_of([Delivery("room", {"n": 1})]) == ("room", {"n": 1})
    assert copies.first_of([]) is None
    copies.first_of(to_members("a", "b"))
    copies.clear()
    assert copies.take(["room", "process!"]) is None


class Interrupted(dict[str, Any]):
    """A dict in which something happens just before the last copy of a channel is removed."""

    def __init__(self, intruder: Intruder) -> None:
        super().__init__()
        self._intruder = intruder

    def __delitem__(self, name: str) -> None:
        self._intruder()
        super().__delitem__(name)


class InterruptedQueue(deque[Copy]):
    """Copies of which one is about to be taken when something happens."""

    intruder: Intruder

    def popleft(self) -> Copy:
        self.intruder()
        return super().popleft()


def test_two_threads_never_take_the_same_copy() -> None:
    copies = Copies()
    taken: list[Copy | None] = []
    copies.first_of(to_members("a", "b"))
    queue = InterruptedQueue(copies._waiting["process!"])
    queue.intruder = Intruder(lambda: taken.append(copies.take(["process!"])))
    copies._waiting["process!"] = queue
    taken.append(copies.take(["process!"]))
    queue.intruder.finish()
    assert sorted(taken, key=str) == [("process!b", {"list": [1]}), None]


def test_a_copy_that_comes_while_the_last_one_is_taken_is_kept() -> None:
    copies = Copies()
    intruder = Intruder(lambda: copies.first_of(to_members("c", "d")))
    copies._waiting = Interrupted(intruder)
    copies.first_of(to_members("a", "b"))
    assert copies.take(["process!"]) == ("process!b", {"list": [1]})
    intruder.finish()
    assert copies.take(["process!"]) == ("process!d", {"list": [1]})


def test_what_waits_is_the_parents_to_deliver_and_not_a_forked_process_s() -> None:
    copies = Copies()
    copies.first_of(to_members("a", "b"))
    child = os.fork()
    if not child:
        os._exit(0 if copies.take(["process!"]) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert copies.take(["process!"]) == ("process!b", {"list": [1]})
