from __future__ import annotations

import threading

from workers import slots as module
from workers.slots import Slots

from .interleaving import Scene, interleave


def test_channels_without_coroutines_need_no_place() -> None:
    slots = Slots(1)
    assert all(slots.admits("a") for _ in range(3))
    slots.give_up()
    assert (slots.taken, slots.free) == (0, 1)


def test_a_known_channel_is_admitted_while_there_are_places() -> None:
    slots = Slots(2)
    slots.keep("a")
    assert slots.admits("a")
    assert not slots.admits("a")
    assert slots.admits("b")
    slots.release()
    assert slots.admits("a")


def test_a_place_that_was_not_needed_is_free_again() -> None:
    slots = Slots(2)
    slots.keep("a")
    assert slots.admits("a")
    slots.give_up()
    slots.give_up()
    assert slots.taken == 1


def test_a_place_that_is_kept_is_counted_once() -> None:
    slots = Slots(3)
    slots.keep("a")
    assert slots.admits("a")
    slots.keep("a")
    slots.give_up()
    assert slots.taken == 2


def test_a_new_channel_may_take_more_places_than_there_are() -> None:
    slots = Slots(1)
    slots.keep("a")
    slots.keep("b")
    assert (slots.taken, slots.free) == (2, 0)
    slots.release()
    assert not slots.freed.is_set()
    slots.release()
    assert slots.freed.is_set()


def test_waiting_ends_when_a_place_is_free_and_does_not_begin_if_there_is_one() -> None:
    slots = Slots(1)
    slots.wait(60)
    slots.keep("a")
    waiting = threading.Thread(target=slots.wait, args=(60,))
    waiting.start()
    slots.release()
    waiting.join(20)
    assert not waiting.is_alive()


def test_waiting_ends_when_it_is_woken() -> None:
    slots = Slots(1)
    slots.keep("a")
    waiting = threading.Thread(target=slots.wait, args=(60,))
    waiting.start()
    while waiting.is_alive():
        slots.wake()
        waiting.join(0.01)


def test_two_threads_never_get_one_place() -> None:
    def scene() -> Scene:
        slots, admitted = Slots(2), list[bool]()
        slots.keep("a")

        def ask() -> None:
            admitted.append(slots.admits("a"))

        def check() -> None:
            assert (sorted(admitted), slots.taken) == ([False, True], 2)

        return ask, ask, check

    interleave(scene, module)


def test_places_that_two_threads_take_and_give_up_are_all_counted() -> None:
    def scene() -> Scene:
        slots = Slots(4)
        slots.keep("a")

        def check() -> None:
            assert (slots.taken, slots.channels) == (2, {"a", "b", "c"})

        def keep_and_release() -> None:
            slots.keep("b")
            slots.release()

        return keep_and_release, lambda: slots.keep("c"), check

    interleave(scene, module)


def test_places_that_two_threads_give_up_at_once_are_both_free_and_somebody_hears_of_it() -> None:
    def scene() -> Scene:
        slots = Slots(1)
        slots.keep("a")
        slots.keep("b")

        def check() -> None:
            assert (slots.taken, slots.freed.is_set()) == (0, True)

        return slots.release, slots.release, check

    interleave(scene, module)
