from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import RESUME
from workers import fetcher as module
from workers.async_limit import Admission, AsyncLimit
from workers.fetcher import Fetcher, Fetching, Pace, Watch, _Usage

from .interleaving import Scene, interleave
from .tools import FlakyLayer, everything


class Team:
    """Threads that call `next` and do what the test says with each message."""

    def __init__(self, fetcher: Fetcher, size: int, work: Any) -> None:
        self.fetcher = fetcher
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for _ in range(size)]
        for thread in self.threads:
            thread.start()

    def _run(self, work: Any) -> None:
        try:
            while (taken := self.fetcher.next()) is not None:
                work(taken[0])
        except BaseException as error:
            self.errors.append(error)

    def stop(self, eventually: Any) -> None:
        def ended() -> bool:
            self.fetcher.stop()
            return not any(thread.is_alive() for thread in self.threads)

        eventually(ended, "the end of all threads")


class Sends:
    """Sends nothing; says when it would."""

    def __init__(self, layer: Any, flush: Any) -> None:
        self.flush = flush
        self._layer = layer

    def receive(self, channels: list[str], limit: int, timeout: float) -> list[Delivery]:
        self.flush()
        return self._layer.receive_batch(channels, limit, timeout)  # type: ignore[no-any-return]


def fetcher_of(layer: Any, before_wait: Any = lambda: None) -> Fetcher:
    return Fetcher(layer, ["a"], Sends(layer, before_wait))


def put(layer: Any, *numbers: int) -> None:
    for number in numbers:
        layer.send("a", {"n": number})


def next_number(fetcher: Fetcher) -> int:
    taken = fetcher.next()
    assert taken is not None
    number: int = taken[0].message["n"]
    return number


def force_fast(fetcher: Fetcher) -> None:
    for _ in range(200):
        fetcher.pace.record(0)


def test_fast_consumers_get_many_messages_at_once_and_slow_ones_one() -> None:
    pace = Pace()
    assert pace.limit == 1
    for _ in range(200):
        pace.record(0.000_01)
    assert pace.limit == Pace.MOST
    assert not pace.is_slow
    pace.record(1.0)
    assert pace.limit == 1
    assert pace.is_slow


def quick_pace() -> Pace:
    pace = Pace()
    for _ in range(200):
        pace.record(0.000_01)
    pace.begin()
    return pace


def took(consumer: Callable[[], object]) -> float:
    started = time.perf_counter()
    consumer()
    return time.perf_counter() - started


def compute() -> None:
    """Run for 20 ms of a processor's time."""
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("consumer", [lambda: time.sleep(0.02), compute], ids=["waits", "computes"])
def test_a_consumer_that_takes_long_makes_batches_small(consumer: Callable[[], object]) -> None:
    pace = quick_pace()
    pace.record(took(consumer))
    assert pace.limit == 1
    assert pace.is_slow


def test_the_time_for_which_the_system_runs_others_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    usages = iter([_Usage(7, 1.0, 10.0), _Usage(7, 1.001_95, 10.022)])
    pace = quick_pace()
    monkeypatch.setattr(module, "_usage", lambda: next(usages))
    pace.begin()
    pace.record(0.000_01)
    pace.record(0.0205)  # behind 1.5 ms of others; it ran for 0.45 ms itself
    assert pace.limit == 8


def test_where_nobody_counts_for_threads_all_of_the_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = quick_pace()
    monkeypatch.setattr(module, "COUNTS_FOR_THREADS", False)
    pace.begin()
    pace.record(0.02)
    assert pace.limit == 1


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("threads", [2, 4, 16])
def test_every_thread_gets_a_message_while_the_others_are_busy(threads: int, fast: bool, eventually: Any) -> None:
    layer = MemoryChannelLayer()
    fetcher = fetcher_of(layer)
    if fast:
        force_fast(fetcher)
    together = threading.Barrier(threads + 1)
    put(layer, *range(threads))
    team = Team(fetcher, threads, lambda delivery: together.wait(20))
    together.wait(20)
    team.stop(eventually)
    assert team.errors == []


def test_messages_that_arrive_one_by_one_reach_idle_threads(eventually: Any) -> None:
    layer = MemoryChannelLayer()
    together = threading.Barrier(5)
    team = Team(fetcher_of(layer), 4, lambda delivery: together.wait(20))
    for number in range(4):
        put(layer, number)
    together.wait(20)
    team.stop(eventually)
    assert team.errors == []


def test_each_message_is_handed_out_once(eventually: Any) -> None:
    layer = MemoryChannelLayer(capacity=100_000)
    fetcher = fetcher_of(layer)
    seen: list[int] = []

    def work(delivery: Delivery) -> None:
        fetcher.pace.record(0.000_01)
        seen.append(delivery.message["n"])

    put(layer, *range(5000))
    team = Team(fetcher, 4, work)
    eventually(lambda: len(seen) >= 5000, "5000 messages")
    team.stop(eventually)
    assert sorted(seen) == list(range(5000))


def test_what_is_left_to_send_is_sent_before_a_thread_waits(eventually: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 3600.0)
    layer = MemoryChannelLayer()
    release = threading.Event()
    finished = [0]
    flushed = [0]

    def before_wait() -> None:
        flushed[0] = max(flushed[0], finished[0])

    def work(delivery: Delivery) -> None:
        assert release.wait(20)
        finished[0] += 1

    fetcher = fetcher_of(layer, before_wait)
    put(layer, 1)
    team = Team(fetcher, 2, work)
    # The other thread has taken over the fetching; nothing comes that would wake it.
    eventually(lambda: fetcher.handed_out == 1 and fetcher._fetching is Fetching.UNDER_WAY, "the other thread to fetch")
    release.set()
    eventually(lambda: flushed[0] == 1, "what the consumer sent, although nobody sends a message")
    team.stop(eventually)


def test_messages_nobody_has_begun_go_back_in_order(eventually: Any) -> None:
    layer = MemoryChannelLayer()
    fetcher = fetcher_of(layer)
    force_fast(fetcher)
    put(layer, 1, 2, 3, 4)
    first = fetcher.next()
    assert first is not None
    assert fetcher.waiting == 3
    put(layer, 5)
    fetcher.put_back_unbegun()
    assert fetcher.waiting == 0
    assert [delivery.message["n"] for delivery in everything(layer, "a")] == [2, 3, 4, 5]


def test_channels_that_are_left_out_keep_their_messages_until_they_are_not() -> None:
    layer = MemoryChannelLayer()
    fetcher = Fetcher(layer, ["a", "b"], Sends(layer, lambda: None))  # type: ignore[arg-type]
    for channel in ("a", "b"):
        layer.send(channel, {})
    found = []
    for left_out in (frozenset({"a"}), frozenset[str]()):
        fetcher.leave_out(left_out)
        taken = fetcher.next()
        assert taken is not None
        found.append(taken[0].channel)
    assert found == ["b", "a"]
    fetcher.leave_out(frozenset({"a", "b"}))
    layer.send("a", {})
    thread = threading.Thread(target=fetcher.next)
    thread.start()
    fetcher.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert len(layer.receive_batch(["a"])) == 1


def test_it_is_known_how_long_ago_an_instance_to_be_made_again_was_taken() -> None:
    layer = MemoryChannelLayer()
    fetcher = Fetcher(layer, [RESUME], Sends(layer, lambda: None))  # type: ignore[arg-type]
    layer.send(RESUME, {})
    before = time.monotonic()
    taken = fetcher.next()
    assert taken is not None
    assert before <= taken[0].taken_at <= time.monotonic()


def test_messages_go_back_only_if_none_was_handed_out_meanwhile() -> None:
    layer = MemoryChannelLayer()
    fetcher = fetched(1, 2, 3, 4, layer=layer)
    fetcher.put_back_stuck()
    assert next_number(fetcher) == 2
    fetcher.put_back_stuck()
    assert fetcher.waiting == 2
    fetcher.put_back_stuck()
    assert fetcher.waiting == 0
    assert [delivery.message["n"] for delivery in everything(layer, "a")] == [3, 4]


def test_an_error_that_ends_the_fetching_thread_loses_no_message_that_is_here() -> None:
    layer = FlakyLayer()
    fetcher = fetched(1, 2, layer=layer)
    ready = fetcher._ready.popleft()

    class Returning(list[BaseException]):
        """Meanwhile a message comes back that could not be put back."""

        def pop(self, index: Any = -1) -> BaseException:
            fetcher._ready.append(ready)
            return super().pop(index)

    layer.receive_errors = Returning([SystemExit()])
    with pytest.raises(SystemExit):
        fetcher.next()
    assert next_number(fetcher) == 2


def fetcher_that_could_not_put_back(error: LayerUnavailable) -> Fetcher:
    """One that has fetched 1, 2 and 3, handed out 1, and met the error with the others."""
    layer = FlakyLayer()
    fetcher = fetcher_of(layer)
    force_fast(fetcher)
    put(layer, 1, 2, 3)
    fetcher.next()
    layer.put_back_errors = [error]
    fetcher.put_back_unbegun()
    return fetcher


def test_messages_that_cannot_go_back_stay_here() -> None:
    fetcher = fetcher_that_could_not_put_back(LayerUnavailable("here", "away", uncertain=False))
    assert fetcher.waiting == 2
    assert [next_number(fetcher) for _ in range(2)] == [2, 3]


def test_messages_that_may_have_gone_back_are_not_run_here(caplog: pytest.LogCaptureFixture) -> None:
    fetcher = fetcher_that_could_not_put_back(LayerUnavailable("here", "no answer", uncertain=True))
    assert fetcher.waiting == 0
    assert "2 messages of a may be lost" in caplog.text


@pytest.mark.parametrize(
    "error", [LayerUnavailable("here", "away"), ZeroDivisionError("a fault"), MemoryError()], ids=repr
)
def test_fetching_goes_on_after_any_error(
    error: BaseException, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FlakyLayer()
    layer.receive_errors = [error, error]
    seen: list[Delivery] = []
    team = Team(fetcher_of(layer), 3, seen.append)
    put(layer, 1)
    eventually(lambda: seen, "the message")
    eventually(lambda: "is back" in caplog.text, "the good news in the log")
    team.stop(eventually)
    assert team.errors == []


def test_a_layer_that_refuses_us_is_said_once_as_an_error_and_tried_again(
    eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FlakyLayer()
    refusal = LayerUnusable("here", "wrong password", uncertain=False)
    layer.receive_errors = [LayerUnavailable("here", "away"), refusal, refusal, LayerConfigurationError("too old")]
    seen: list[Delivery] = []
    team = Team(fetcher_of(layer), 3, seen.append)
    put(layer, 1)
    eventually(lambda: seen, "the message")
    eventually(lambda: "is back" in caplog.text, "the good news in the log")
    team.stop(eventually)
    assert team.errors == []
    said = [(record.levelname, record.getMessage(), record.exc_info) for record in caplog.records]
    assert said[:3] == [
        ("WARNING", "channel layer at here is unavailable: away; trying again until it is back", None),
        ("ERROR", "wrong password; trying again until it is back", None),
        ("ERROR", "too old; trying again until it is back", None),
    ]
    assert len(said) == 4


@pytest.mark.parametrize("moment", ["waiting", "backing off"])
def test_stop_ends_all_threads(moment: str, eventually: Any) -> None:
    layer = FlakyLayer()
    if moment == "backing off":
        layer.receive_errors = [LayerUnavailable("here", "away")] * 10_000
    team = Team(fetcher_of(layer), 4, lambda delivery: None)
    eventually(lambda: team.fetcher._fetching is Fetching.UNDER_WAY, "a thread to fetch")
    team.stop(eventually)
    assert team.errors == []


def test_messages_that_were_fetched_are_handed_out_after_the_stop() -> None:
    layer = MemoryChannelLayer()
    fetcher = fetcher_of(layer)
    force_fast(fetcher)
    put(layer, 1, 2, 3)
    fetcher.next()
    fetcher.stop()
    assert [next_number(fetcher) for _ in range(2)] == [2, 3]
    assert fetcher.next() is None


def test_an_error_while_sending_leaves_the_fetching_to_others(eventually: Any) -> None:
    layer = MemoryChannelLayer()
    errors: list[BaseException] = [SystemExit()]

    def before_wait() -> None:
        if errors:
            raise errors.pop()

    seen: list[Delivery] = []
    team = Team(fetcher_of(layer, before_wait), 3, seen.append)
    put(layer, 1)
    eventually(lambda: seen, "the message")
    team.stop(eventually)
    assert len(team.errors) == 1


class OneAtATime(MemoryChannelLayer):
    """A layer that says when two threads fetch at once, or when one comes back for what another got."""

    def __init__(self) -> None:
        super().__init__()
        self.fetching = self.most = 0

    def receive_batch(self, channels: Any, limit: int = 1, timeout: float = 0) -> Any:
        self.fetching += 1
        self.most = max(self.most, self.fetching)
        try:
            return super().receive_batch(channels, limit, min(timeout, 1.0))
        finally:
            self.fetching -= 1


def fetched(*numbers: int, layer: Any = None) -> Fetcher:
    """A fetcher that has fetched these, all but the first of which nobody has begun."""
    layer = OneAtATime() if layer is None else layer
    fetcher = fetcher_of(layer)
    force_fast(fetcher)
    put(layer, *numbers)
    assert fetcher.next() is not None
    assert fetcher.waiting == len(numbers) - 1
    return fetcher


@pytest.mark.parametrize("here", [[0], [0, 1]], ids=["one to fetch each", "one here and one to fetch"])
def test_two_threads_that_ask_at_once_get_one_message_each(here: list[int]) -> None:
    def scene() -> Scene:
        layer, got = OneAtATime(), list[int]()
        fetcher = fetched(*here, layer=layer)
        put(layer, *range(len(here), 3))

        def ask() -> None:
            got.append(next_number(fetcher))

        def check() -> None:
            assert (sorted(got), layer.most) == ([1, 2], 1)

        return ask, ask, check

    interleave(scene, module)


@pytest.mark.parametrize("order", [1, -1], ids=["put back first", "put back second"])
def test_what_is_put_back_is_not_handed_out_too(order: int) -> None:
    def scene() -> Scene:
        layer, got = MemoryChannelLayer(), list[int]()
        fetcher = fetched(0, 1, 2, layer=layer)

        def ask() -> None:
            got.append(next_number(fetcher))

        def check() -> None:
            left = [delivery.message["n"] for delivery in [*everything(layer, "a"), *fetcher._ready]]
            assert sorted(got + left) == [1, 2]

        first, second = (fetcher.put_back_unbegun, ask)[::order]
        return first, second, check

    interleave(scene, module)


@pytest.mark.parametrize("other", ["turn away", "put back"])
def test_what_was_turned_away_goes_back_once(other: str) -> None:
    def scene() -> Scene:
        layer = MemoryChannelLayer()
        limit = AsyncLimit(1)
        fetcher = Fetcher(layer, ["a"], Sends(layer, lambda: None), limit)
        force_fast(fetcher)
        put(layer, 0, 1, 2, 3)
        assert fetcher.next() is not None
        limit.keep("a", Admission.FREE)  # which leaves no place for the others

        def turn_away() -> None:
            with fetcher._lock:
                assert fetcher._take() is None

        turn_away()

        def check() -> None:
            fetcher._put_back_refused()
            assert sorted(delivery.message["n"] for delivery in everything(layer, "a")) == [1, 2, 3]

        second = turn_away if other == "turn away" else fetcher._put_back_refused
        return fetcher._put_back_refused, second, check

    interleave(scene, module)


def test_a_thread_that_ends_while_the_watch_sleeps_wakes_it(eventually: Any) -> None:
    layer = FlakyLayer()
    seen: list[Delivery] = []
    team = Team(fetcher_of(layer), 2, seen.append)
    eventually(lambda: team.fetcher._watch is Watch.ASLEEP, "the watch to sleep")
    layer.receive_errors = [SystemExit()]
    layer.interrupt()
    eventually(lambda: team.errors, "the end of the thread that fetched")
    put(layer, 1)
    eventually(lambda: seen, "the message")
    team.stop(eventually)
