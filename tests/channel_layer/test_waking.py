"""Receiving from a store that says when to look."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from channel_layer import waking
from channel_layer.delivery import Delivery

MESSAGE = Delivery("here", {"n": 1})


class Store:
    """Something to wait for; ``looks`` counts how often it was looked at, ``waiters`` who waits."""

    def __init__(self) -> None:
        self.held: list[Delivery] = []
        self.looks = 0
        self.waiters: list[Callable[[], None]] = []

    @contextmanager
    def waiting(self, wake: Callable[[], None]) -> Iterator[None]:
        self.waiters.append(wake)
        yield
        self.waiters.remove(wake)

    def look(self) -> list[Delivery]:
        assert self.waiters  # what comes from now on is reported
        self.looks += 1
        taken, self.held = self.held, []
        return taken

    async def alook(self) -> list[Delivery]:
        return self.look()

    def put_and_wake(self) -> None:
        self.held.append(MESSAGE)
        for wake in list(self.waiters):
            wake()


Receive = Callable[..., list[Delivery]]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture(params=["thread", "loop"])
def receive(request: pytest.FixtureRequest, store: Store) -> Receive:
    if request.param == "thread":
        return lambda timeout: waking.receive(store.waiting, store.look, timeout, lambda: False)
    return lambda timeout: asyncio.run(waking.areceive(store.waiting, store.alook, timeout))


def test_what_is_there_is_taken_at_once(store: Store, receive: Receive) -> None:
    store.held.append(MESSAGE)
    assert receive(30) == [MESSAGE]
    assert (store.looks, store.waiters) == (1, [])


def test_who_waits_is_woken_and_looks_no_more_often_than_that(
    store: Store, receive: Receive, eventually: Callable[..., object]
) -> None:
    def put() -> None:
        eventually(lambda: store.looks, "the first look")
        for wake in list(store.waiters):
            wake()  # for nothing
        eventually(lambda: store.looks == 2, "a look for nothing")
        store.put_and_wake()

    thread = threading.Thread(target=put)
    thread.start()
    assert receive(30) == [MESSAGE]
    thread.join(30)
    assert store.looks == 3


def test_after_its_time_it_looks_once_more(store: Store, receive: Receive) -> None:
    began = time.monotonic()
    assert receive(0.05) == []
    assert time.monotonic() - began >= 0.05
    assert (store.looks, store.waiters) == (2, [])


def test_it_can_be_ended_early(store: Store, eventually: Callable[..., object]) -> None:
    over = threading.Event()

    def end() -> None:
        eventually(lambda: store.looks, "the first look")
        over.set()
        for wake in list(store.waiters):
            wake()

    thread = threading.Thread(target=end)
    thread.start()
    assert waking.receive(store.waiting, store.look, 30, over.is_set) == []
    thread.join(30)


def test_a_loop_that_was_closed_meanwhile_is_let_alone(store: Store) -> None:
    async def begin() -> None:
        looked = asyncio.Event()

        async def look() -> list[Delivery]:
            looked.set()
            return store.look()

        task = asyncio.create_task(waking.areceive(store.waiting, look, 30))
        await looked.wait()
        kept.extend(store.waiters)
        task.cancel()

    kept: list[Callable[[], None]] = []
    asyncio.run(begin())
    kept[0]()  # by the thread of a layer, later
