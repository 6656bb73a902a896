from __future__ import annotations

import threading

from tests.conftest import Eventually
from workers import async_limit as module
from workers.async_limit import FREE, PLACE, REFUSED, Admission, AsyncLimit

from .interleaving import Scene, interleave


def test_channels_without_coroutines_need_no_place() -> None:
    limit = AsyncLimit(1)
    assert [limit.admit("a") for _ in range(3)] == [FREE] * 3
    limit.give_up(FREE)
    assert (limit.taken, limit.free) == (0, 1)


def test_a_known_channel_is_admitted_while_there_are_places() -> None:
    limit = AsyncLimit(2)
    limit.keep("a", FREE)
    assert [limit.admit(channel) for channel in "aab"] == [PLACE, REFUSED, FREE]
    limit.release()
    assert limit.admit("a") is PLACE


def test_a_place_that_was_not_needed_is_free_again() -> None:
    limit = AsyncLimit(2)
    limit.keep("a", FREE)
    limit.give_up(limit.admit("a"))
    limit.give_up(limit.admit("b"))
    assert limit.taken == 1


def test_a_place_that_is_kept_is_counted_once() -> None:
    limit = AsyncLimit(3)
    limit.keep("a", FREE)
    limit.keep("a", limit.admit("a"))
    assert limit.taken == 2


def test_a_new_channel_may_take_more_places_than_there_are() -> None:
    limit = AsyncLimit(1)
    limit.keep("a", FREE)
    limit.keep("b", FREE)
    assert (limit.taken, limit.free) == (2, 0)
    limit.release()
    assert not limit.freed.is_set()
    limit.release()
    assert limit.freed.is_set()


def test_waiting_ends_when_a_place_is_free_and_does_not_begin_if_there_is_one() -> None:
    limit = AsyncLimit(1)
    limit.wait(60)
    limit.keep("a", FREE)
    waiting = threading.Thread(target=limit.wait, args=(60,))
    waiting.start()
    limit.release()
    waiting.join(20)
    assert not waiting.is_alive()


def test_waiting_ends_when_it_is_woken(eventually: Eventually) -> None:
    limit = AsyncLimit(1)
    limit.keep("a", FREE)
    waiting = threading.Thread(target=limit.wait, args=(60,))
    waiting.start()

    def ends() -> bool:
        limit.wake()
        return not waiting.is_alive()

    eventually(ends, "the end of a wait")


def test_two_threads_never_get_one_place() -> None:
    def scene() -> Scene:
        limit, admitted = AsyncLimit(2), list[Admission]()
        limit.keep("a", FREE)

        def ask() -> None:
            admitted.append(limit.admit("a"))

        def check() -> None:
            assert (set(admitted), limit.taken) == ({PLACE, REFUSED}, 2)

        return ask, ask, check

    interleave(scene, module)


def test_places_that_two_threads_take_and_give_up_are_all_counted() -> None:
    def scene() -> Scene:
        limit = AsyncLimit(4)
        limit.keep("a", FREE)

        def check() -> None:
            assert (limit.taken, limit.channels) == (2, {"a", "b", "c"})

        def keep_and_release() -> None:
            limit.keep("b", FREE)
            limit.release()

        return keep_and_release, lambda: limit.keep("c", FREE), check

    interleave(scene, module)


def test_places_that_two_threads_give_up_at_once_are_both_free_and_somebody_hears_of_it() -> None:
    def scene() -> Scene:
        limit = AsyncLimit(1)
        limit.keep("a", FREE)
        limit.keep("b", FREE)

        def check() -> None:
            assert (limit.taken, limit.freed.is_set()) == (0, True)

        return limit.release, limit.release, check

    interleave(scene, module)
