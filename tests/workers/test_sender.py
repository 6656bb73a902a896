from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Outcome
from tests.conftest import wait_until
from workers import sender as module
from workers.facts import Facts
from workers.sender import Sender

from .interleaving import Scene, interleave
from .tools import FlakyLayer, Frozen, everything, outgoing


def numbers(layer: Any, channel: str) -> list[int]:
    return [delivery.message["n"] for delivery in everything(layer, channel)]


def taken(layer: Any, channel: str, count: int) -> list[int]:
    """The first so many messages of a channel, which another thread sends."""
    found: list[int] = []
    wait_until(lambda: found.extend(numbers(layer, channel)) or len(found) >= count, f"{count} messages on {channel}")
    return found


def sender_of(layer: Any, stopping: bool = False) -> Sender:
    """The sender of a worker of this layer."""
    return Sender(layer, lambda: stopping)


def test_nothing_leaves_before_a_flush() -> None:
    layer = MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add([outgoing(layer, "a", 1)])
    assert numbers(layer, "a") == []
    sender.flush()
    assert numbers(layer, "a") == [1]


def test_much_is_flushed_at_once() -> None:
    layer = MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add([outgoing(layer, "a", n) for n in range(module.MOST_ITEMS)])
    assert numbers(layer, "a") == list(range(module.MOST_ITEMS))


def test_many_bytes_are_flushed_at_once() -> None:
    layer = MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add([(layer, layer.prepare("a", {"n": 1, "x": b"x" * module.MOST_BYTES}))])
    assert numbers(layer, "a") == [1]


def test_each_layer_gets_its_own(eventually: Any) -> None:
    layers = [MemoryChannelLayer() for _ in range(3)]
    sender = sender_of(layers[0])
    sender.add([outgoing(layers[number % 3], "a", number) for number in range(9)])
    sender.flush()
    assert numbers(layers[0], "a") == [0, 3, 6]
    eventually(lambda: sender.is_empty, "all that was sent")
    assert [taken(layer, "a", 3) for layer in layers[1:]] == [[1, 4, 7], [2, 5, 8]]


def test_layers_are_told_that_there_are_others() -> None:
    told: list[str] = []

    class Named(MemoryChannelLayer):
        def beside_others(self) -> None:
            told.append(self.name)

    one, two = Named(), Named()
    one.name, two.name = "one", "two"
    sender = sender_of(one)
    sender.add([outgoing(one, "a", 1)])
    sender.flush()
    assert told == []
    sender.add([outgoing(two, "a", 2)])
    sender.flush()
    assert set(told) == {"one", "two"}


def test_a_full_channel_holds_up_no_other_and_keeps_its_order(eventually: Any) -> None:
    layer = MemoryChannelLayer(channel_capacity={"full": 2})
    sender = sender_of(layer)
    sender.add([outgoing(layer, "full", n) for n in range(4)])
    sender.flush()
    sender.add([outgoing(layer, "full", 4), outgoing(layer, "other", 1)])
    sender.flush()
    assert numbers(layer, "other") == [1]
    arrived: list[int] = []

    def all_arrived() -> bool:
        sender.flush()
        arrived.extend(numbers(layer, "full"))
        return len(arrived) == 5

    eventually(all_arrived, "all five messages")
    assert arrived == [0, 1, 2, 3, 4]


def test_what_a_full_channel_never_takes_is_dropped_with_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    monkeypatch.setattr(module, "FULL_SECONDS", 0.05)
    layer = MemoryChannelLayer(capacity=1)
    sender = sender_of(layer)
    sender.add([outgoing(layer, "full", n) for n in range(3)])

    def dropped() -> bool:
        sender.flush()
        return "2 messages to full dropped" in caplog.text

    eventually(dropped, "the drop")
    assert numbers(layer, "full") == [0]
    sender.add([outgoing(layer, "full", 9)])
    sender.flush()
    assert numbers(layer, "full") == [9]


def test_a_layer_that_is_away_gets_everything_in_order_when_it_is_back(eventually: Any) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer)
    layer.send_errors = [LayerUnavailable("here", "away", uncertain=False) for _ in range(3)]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    sender.add([outgoing(layer, "a", 2)])

    def back() -> bool:
        sender.flush()
        return layer.channel_statistics("a")["messages_pending"] == 2

    eventually(back, "both messages")
    assert numbers(layer, "a") == [1, 2]


def test_what_may_have_been_sent_is_not_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer)
    layer.send_errors = [LayerUnavailable("here", "no answer", uncertain=True)]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    sender.flush()
    assert numbers(layer, "a") == []
    assert "1 messages may be lost" in caplog.text


class Partly(MemoryChannelLayer):
    """A layer of which channels cannot be reached or give no answer."""

    away: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def send_batch(self, items: Any) -> Any:
        unsent = [item for item in items if item.target in self.away]
        unknown = [item for item in items if item.target in self.cut]
        refused = super().send_batch([item for item in items if item not in unsent and item not in unknown])
        if unsent or unknown:
            raise LayerUnavailable("here", "partly gone", outcome=Outcome(refused, unsent, unknown), reachable=True)
        return refused


def test_while_a_part_of_the_layer_is_away_the_rest_goes_on_and_nothing_is_lost_that_was_not_sent(
    caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    layer = Partly(channel_capacity={"full": 1})
    sender = sender_of(layer)
    layer.away, layer.cut = ("away",), ("cut",)
    sender.add([outgoing(layer, name, n) for n in (1, 2) for name in ("here", "away", "full", "cut")])
    sender.flush()
    assert "2 messages may be lost: channel layer at here is unavailable: partly gone" in caplog.text
    sender.add([outgoing(layer, "here", 3), outgoing(layer, "away", 3)])
    sender.flush()
    assert numbers(layer, "here") == [1, 2, 3]
    arrived: list[int] = []
    layer.away = ()

    def all_arrived() -> bool:
        sender.flush()
        arrived.extend(numbers(layer, "full"))
        return len(arrived) == 2 and sender.is_empty

    eventually(all_arrived, "the rest")
    assert arrived == [1, 2]
    assert numbers(layer, "away") == [1, 2, 3]
    assert numbers(layer, "cut") == []
    assert "dropped" not in caplog.text


@pytest.mark.parametrize("patience", ["FULL_SECONDS", "AWAY_SECONDS"])
def test_a_part_of_the_layer_may_be_away_for_longer_than_a_channel_may_be_full(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any, patience: str
) -> None:
    monkeypatch.setattr(module, patience, 0.0)
    layer = Partly(channel_capacity={"full": 1})
    sender = sender_of(layer)
    layer.away = ("away",)
    sender.add([outgoing(layer, name, n) for n in (1, 2) for name in ("away", "full")])
    given_up, other = ("full", "away") if patience == "FULL_SECONDS" else ("away", "full")

    def dropped() -> bool:
        sender.flush()
        return f"messages to {given_up} dropped" in caplog.text

    eventually(dropped, "the drop")
    assert f"to {other} dropped" not in caplog.text
    assert {item.target for item in sender._home.kept} == {other}


def test_a_fault_in_the_layer_does_not_reach_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer)
    layer.send_errors = [ZeroDivisionError()]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    assert "1 messages dropped" in caplog.text
    sender.add([outgoing(layer, "a", 2)])
    sender.flush()
    assert numbers(layer, "a") == [2]


def test_what_is_for_later_waits_for_its_time_or_the_stop() -> None:
    stopping = threading.Event()
    layer, other = MemoryChannelLayer(), MemoryChannelLayer()
    sender = Sender(layer, stopping.is_set)
    for one in (layer, other):
        sender.add_later(0, *outgoing(one, "a", 1))
        sender.add_later(3600, *outgoing(one, "a", 2))
    sender.flush()
    assert numbers(layer, "a") == [1]
    assert taken(other, "a", 1) == [1]
    stopping.set()
    sender.drain()
    assert numbers(layer, "a") == numbers(other, "a") == [2]


def test_the_last_flush_gives_up_on_a_full_channel_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.05)
    layer = MemoryChannelLayer(capacity=1)
    sender = sender_of(layer, stopping=True)
    sender.add([outgoing(layer, "full", n) for n in range(3)])
    sender.drain()
    assert numbers(layer, "full") == [0]
    assert "dropped" in caplog.text


class Clock:
    """Stands for the module ``time``: moves when somebody sleeps, which is also when the reader reads."""

    def __init__(self, step: float | None = None) -> None:
        self.now, self.step = 1000.0, step
        self.layer = MemoryChannelLayer(capacity=2, clock=self.monotonic)
        self.taken: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += self.step or seconds
        self.taken += numbers(self.layer, "full")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_channel_that_has_been_full_for_long_gets_the_same_time_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    sender = sender_of(clock.layer, stopping=True)
    sender.add([outgoing(clock.layer, "full", n) for n in range(5)])
    sender.flush()
    clock.now += module.FULL_SECONDS - 0.1
    sender.flush()
    sender.drain()
    assert clock.taken + numbers(clock.layer, "full") == [0, 1, 2, 3, 4]
    assert caplog.text == ""


def test_a_layer_that_has_been_away_for_long_gets_the_same_time_at_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer, stopping=True)
    layer.send_errors = [LayerUnavailable("here", "away", uncertain=False) for _ in range(3)]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    clock.now += module.AWAY_SECONDS - 0.1
    sender.flush()
    sender.drain()
    assert numbers(layer, "a") == [1]
    assert caplog.text == ""


def test_what_another_thread_put_behind_a_channel_that_takes_nothing_is_dropped_with_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, other = (outgoing(clock.layer, *to)[1] for to in [("full", 1), ("full", 2), ("other", 3)])
    line = module._Line(clock.layer, lambda: False, Facts())
    line.add([(clock.layer, first)])
    assert line._take() == [first]
    line.add([(clock.layer, second), (clock.layer, other)])
    assert line._take() == [second, other]
    line._settle([second, other], [second, other], None)
    clock.now += module.FULL_SECONDS + 0.1
    line._settle([first], [first], None)
    assert line.kept == [other]
    assert "2 messages to full dropped" in caplog.text


def test_what_another_thread_sends_while_the_last_flush_begins_arrives_too() -> None:
    def scene() -> Scene:
        layer, other = MemoryChannelLayer(), MemoryChannelLayer()
        sender = sender_of(layer, stopping=True)
        sender.add([outgoing(layer, "a", 0)])
        sender.flush()
        sender.add([outgoing(layer, "a", 1)])

        def send() -> None:
            sender.add([outgoing(other, "a", 2)])
            sender.flush()

        def check() -> None:
            assert (numbers(layer, "a"), taken(other, "a", 1)) == ([0, 1], [2])

        return sender.drain, send, check

    interleave(scene, module)


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_a_channel_that_takes_little_by_little_does_not_hold_up_the_end_for_ever(
    seconds: float, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.step = 0.9
    sender = sender_of(clock.layer, stopping=True)
    sender.add([outgoing(clock.layer, "full", n) for n in range(40)])
    started = clock.now
    sender.drain(seconds)
    allowed = max(seconds, 2 * module.LAST_SECONDS)
    assert allowed <= clock.now - started < allowed + clock.step
    assert f"{40 - len(clock.taken)} messages dropped: there is no more time" in caplog.text


def test_two_threads_that_flush_keep_the_order_of_one_that_adds() -> None:
    layer = MemoryChannelLayer()
    sender = sender_of(layer)
    done = threading.Event()

    def flush() -> None:
        while not done.is_set():
            sender.flush()

    flushers = [threading.Thread(target=flush) for _ in range(2)]
    for thread in flushers:
        thread.start()
    for n in range(3000):
        sender.add([outgoing(layer, "a", n)])
    done.set()
    for thread in flushers:
        thread.join()
    sender.flush()
    assert numbers(layer, "a") == list(range(3000))


def receive(sender: Sender) -> list[int]:
    return [delivery.message["n"] for delivery in sender.receive(["in"], 10, 20)]


def test_what_lies_is_sent_with_the_receiving() -> None:
    layer, other = MemoryChannelLayer(), MemoryChannelLayer()
    sender = sender_of(layer)
    layer.send("in", {"n": 0})
    sender.add([outgoing(layer, "a", 1), outgoing(other, "a", 2), outgoing(layer, "a", 3)])
    assert receive(sender) == [0]
    assert (numbers(layer, "a"), taken(other, "a", 1)) == ([1, 3], [2])
    layer.send("in", {"n": 4})
    assert receive(sender) == [4]
    assert numbers(layer, "a") == []


def test_what_was_refused_while_receiving_is_sent_later_and_in_order(eventually: Any) -> None:
    layer = MemoryChannelLayer(channel_capacity={"full": 1})
    sender = sender_of(layer)
    layer.send("in", {"n": 0})
    sender.add([outgoing(layer, "full", n) for n in range(3)])
    assert receive(sender) == [0]
    sender.add([outgoing(layer, "full", 3)])
    arrived: list[int] = []

    def all_arrived() -> bool:
        layer.send("in", {"n": 0})
        arrived.extend(numbers(layer, "full"))
        assert receive(sender) == [0]
        return len(arrived) == 4

    eventually(all_arrived, "all four messages")
    assert arrived == [0, 1, 2, 3]


def test_what_a_layer_that_is_away_surely_did_not_get_is_kept(eventually: Any) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer)
    layer.send("other", {"n": 0})
    sender.add([outgoing(layer, "b", 1)])
    layer.send_errors = [LayerUnavailable("here", "away", uncertain=False)]
    assert [delivery.channel for delivery in sender.receive(["other"], 1, 20)] == ["other"]

    def arrived() -> bool:
        sender.flush()
        return numbers(layer, "b") == [1]

    eventually(arrived, "the message")


def test_messages_that_a_layer_cannot_send_at_all_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    layer = FlakyLayer()
    sender = sender_of(layer)
    layer.send_errors = [LayerConfigurationError("no such thing")]
    sender.add([outgoing(layer, "b", 1)])
    with pytest.raises(LayerConfigurationError):
        sender.receive(["other"], 1, 0)
    assert "1 messages dropped" in caplog.text


def test_others_send_while_one_receives(eventually: Any) -> None:
    layer = MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add([outgoing(layer, "a", 1)])
    thread = threading.Thread(target=receive, args=(sender,))
    thread.start()
    eventually(lambda: numbers(layer, "a") == [1], "what was sent with the receiving")
    sender.add([outgoing(layer, "a", 2)])
    sender.flush()
    assert numbers(layer, "a") == [2]
    layer.send("in", {"n": 0})
    thread.join(20)
    assert not thread.is_alive()


class Scenes:
    """What two threads do to one sender; whatever the order, each message arrives once and in order."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.sender = sender_of(layer)

    def add(self, *numbers: int) -> None:
        self.sender.add([outgoing(self.layer, "a", number) for number in numbers])

    def add_later(self, number: int) -> None:
        self.sender.add_later(0, *outgoing(self.layer, "a", number))

    def add_and_flush(self, number: int) -> None:
        self.add(number)
        self.sender.flush()

    def receive(self) -> None:
        self.sender.receive(["in"], 1, 0)

    def arrived(self) -> list[int]:
        """What comes on the channel when all of it is let through."""
        found: list[int] = []
        deadline = time.monotonic() + 20
        while (not self.sender.is_empty or not found) and time.monotonic() < deadline:
            self.sender.flush()
            found += numbers(self.layer, "a")
        return found + numbers(self.layer, "a")


@pytest.mark.parametrize("capacity", [1, 100])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda it: it.add(2), lambda it: it.sender.flush()),
        (lambda it: it.sender.flush(), lambda it: it.add(2)),
        (lambda it: it.sender.flush(), lambda it: it.add_and_flush(2)),
        (lambda it: it.receive(), lambda it: it.add_and_flush(2)),
        (lambda it: it.add_and_flush(2), lambda it: it.receive()),
        (lambda it: it.sender.flush(), lambda it: it.add_later(2)),
        (lambda it: it.add_later(2), lambda it: it.sender.flush()),
    ],
    ids=["add-flush", "flush-add", "flush-flush", "receive-flush", "flush-receive", "flush-later", "later-flush"],
)
def test_two_threads_lose_nothing_repeat_nothing_and_keep_the_order(
    first: Any, second: Any, capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)

    def scene() -> Scene:
        it = Scenes(MemoryChannelLayer(capacity=capacity))
        it.add(0, 1)
        it.sender.add_later(0, *outgoing(it.layer, "elsewhere", 9))

        def check() -> None:
            assert it.arrived() == [0, 1, 2]

        return lambda: first(it), lambda: second(it), check

    interleave(scene, module)


@pytest.mark.parametrize("error", [True, False])
@pytest.mark.parametrize("home", [True, False])
def test_a_layer_that_is_away_or_broken_keeps_nothing_from_another(home: bool, error: bool, eventually: Any) -> None:
    away, fine = FlakyLayer(), MemoryChannelLayer()
    sender = sender_of(away if home else fine)
    errors: list[BaseException] = [LayerUnavailable("here", "away", uncertain=False)] * 2
    away.send_errors = errors if error else [ZeroDivisionError()]
    sender.add([outgoing(away, "a", 1), outgoing(fine, "a", 2)])
    sender.flush()
    assert taken(fine, "a", 1) == [2]
    eventually(lambda: len(away.send_errors) < 2 if error else not away.send_errors, "the first try")
    sender.add([outgoing(away, "a", 3), outgoing(fine, "a", 4)])
    sender.flush()
    assert taken(fine, "a", 1) == [4]
    arrived: list[int] = []

    def all_arrived() -> bool:
        sender.flush()
        arrived.extend(numbers(away, "a"))
        return len(arrived) == (2 if error else 1)

    eventually(all_arrived, "what the other layer did not get at first")
    assert arrived == ([1, 3] if error else [3])


def test_who_sends_more_than_a_full_channel_takes_waits_and_no_more_than_so_much_is_kept(
    monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 20)
    monkeypatch.setattr(module, "MOST_ITEMS", 5)
    tried: list[int] = []

    class Watched(MemoryChannelLayer):
        def send_batch(self, items: Any) -> Any:
            tried.append(len(items))
            return super().send_batch(items)

    layer = Watched(capacity=10)
    sender = sender_of(layer)

    def produce() -> None:
        for number in range(500):
            sender.add([outgoing(layer, "full", number)])

    producer = threading.Thread(target=produce)
    producer.start()
    arrived: list[int] = []

    def all_arrived() -> bool:
        sender.flush()
        arrived.extend(numbers(layer, "full"))
        return len(arrived) == 500

    eventually(lambda: max(tried) > 20, "more than may be kept")
    eventually(all_arrived, "all that was sent")
    producer.join(20)
    assert arrived == list(range(500))
    assert max(tried) <= 20 + 10 + 5


class Done(threading.Thread):
    """An action in a thread that must not stay away."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__(target=action, daemon=True)
        self.start()

    def wait(self) -> None:
        self.join(30)
        assert not self.is_alive(), "it waits for the layer that is frozen"


@pytest.mark.parametrize("action", ["flush", "receive", "add"])
def test_a_frozen_layer_holds_up_only_what_goes_to_it(frozen: Frozen, action: str) -> None:
    layer, third = MemoryChannelLayer(), MemoryChannelLayer()
    sender = sender_of(layer)
    count = module.MOST_ITEMS
    sender.add([outgoing(frozen, "a", 0)])
    assert frozen.asked.wait(30)

    def act() -> None:
        for number in range(count):
            sender.add([outgoing(frozen, "a", number + 1), outgoing(layer, "a", number), outgoing(third, "a", number)])
        if action == "flush":
            sender.flush()
        elif action == "receive":
            layer.send("in", {"n": 1})
            assert receive(sender) == [1]

    Done(act).wait()
    assert numbers(layer, "a") == list(range(count))
    assert taken(third, "a", count) == list(range(count))
    assert numbers(frozen, "a") == []
    frozen.thawed.set()
    assert taken(frozen, "a", count + 1) == list(range(count + 1))


@pytest.mark.parametrize("action", ["flush", "receive"])
def test_while_the_own_layer_is_frozen_others_get_theirs(frozen: Frozen, action: str, eventually: Any) -> None:
    other = MemoryChannelLayer()
    sender = sender_of(frozen)
    sender.add([outgoing(frozen, "a", 0)])
    waiting = Done(sender.flush if action == "flush" else lambda: sender.receive(["in"], 1, 0))
    assert frozen.asked.wait(30)
    for number in range(100):
        Done(lambda number=number: sender.add([outgoing(other, "a", number)])).wait()  # type: ignore[misc]
    assert taken(other, "a", 100) == list(range(100))
    frozen.thawed.set()
    waiting.wait()
    assert numbers(frozen, "a") == [0]


def test_threads_keep_their_order_on_each_layer_while_one_is_frozen_and_channels_are_full(eventually: Any) -> None:
    layers = [MemoryChannelLayer(capacity=40), Frozen(capacity=40), MemoryChannelLayer(capacity=40)]
    sender = sender_of(layers[0])
    channels, count = ["a", "b", "c"], 200

    def produce(channel: str) -> None:
        for number in range(count):
            sender.add([outgoing(layer, channel, number) for layer in layers])

    producers = [Done(lambda channel=channel: produce(channel)) for channel in channels]  # type: ignore[misc]
    assert layers[1].asked.wait(30)  # type: ignore[attr-defined]
    arrived: dict[tuple[int, str], list[int]] = {(at, name): [] for at in range(3) for name in channels}

    def all_arrived(*of: int) -> bool:
        sender.flush()
        for (at, name), found in arrived.items():
            found += numbers(layers[at], name)
        return all(len(found) == count for (at, _), found in arrived.items() if at in of)

    eventually(lambda: all_arrived(0, 2), "all that goes to the layers that answer")
    assert not any(found for (at, _), found in arrived.items() if at == 1)
    layers[1].thawed.set()  # type: ignore[attr-defined]
    eventually(lambda: all_arrived(0, 1, 2), "all messages")
    for producer in producers:
        producer.wait()
    assert all(found == list(range(count)) for found in arrived.values())


def test_who_sends_to_a_crowded_layer_waits_and_nobody_else(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 20)
    layer, third = MemoryChannelLayer(), MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add([outgoing(frozen, "a", number) for number in range(20)])
    assert frozen.asked.wait(30)
    sender.add_elsewhere([outgoing(frozen, "a", 20)])
    assert not sender.has_room_for([outgoing(frozen, "a", 20)])
    waiting = Done(lambda: sender.add([outgoing(frozen, "a", 21), outgoing(layer, "b", 0)]))
    for one in (layer, third):
        many = [outgoing(one, "a", number) for number in range(50)]
        Done(lambda many=many: sender.add(many)).wait()  # type: ignore[misc]
        assert taken(one, "a", 50) == list(range(50))
        assert sender.has_room_for(many)
    assert not sender.has_room_for([outgoing(third, "a", 0), outgoing(frozen, "a", 0)])
    assert waiting.is_alive()
    frozen.thawed.set()
    waiting.wait()
    assert taken(frozen, "a", 22) == list(range(22))


def test_while_the_own_layer_is_crowded_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 5)
    layer, other = MemoryChannelLayer(capacity=1), MemoryChannelLayer()
    sender = sender_of(layer)
    sender.add_here([outgoing(layer, "full", number) for number in range(module.MOST_ITEMS)])
    assert not sender.has_room_for([outgoing(layer, "a", 1)])
    Done(lambda: sender.add([outgoing(other, "a", 1)])).wait()
    assert sender.has_room_for([outgoing(other, "a", 1)])


def test_a_consumer_s_messages_may_be_added_in_two_parts() -> None:
    layer, other = MemoryChannelLayer(), MemoryChannelLayer()
    sender = sender_of(layer)
    outbox = [outgoing(one, "a", number) for number in range(3) for one in (layer, other)]
    sender.add_elsewhere(outbox)
    assert taken(other, "a", 3) == [0, 1, 2]
    sender.flush()
    assert numbers(layer, "a") == []
    sender.add_here(outbox)
    sender.drain()
    assert (numbers(layer, "a"), numbers(other, "a")) == ([0, 1, 2], [])


def test_a_worker_that_stops_waits_for_no_room(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 1)
    stopping = threading.Event()
    sender = Sender(MemoryChannelLayer(), stopping.is_set)
    many = [outgoing(frozen, "a", number) for number in range(9)]
    waiting = Done(lambda: sender.add(many))
    assert frozen.asked.wait(30)
    assert not sender.has_room_for(many)
    stopping.set()
    waiting.wait()
    assert sender.has_room_for(many)


def test_the_end_waits_for_no_layer_before_another_gets_its_turn(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.2)
    layer, third, facts = MemoryChannelLayer(), MemoryChannelLayer(), Facts()
    sender = Sender(layer, lambda: True, facts)
    sender.add([outgoing(frozen, "a", 1)])
    assert frozen.asked.wait(30)
    sender.add([outgoing(one, "a", number) for number in (2, 3) for one in (frozen, layer, third)])
    Done(sender.drain).wait()
    assert numbers(layer, "a") == numbers(third, "a") == [2, 3]
    assert "1 messages may be lost: Frozen has not answered in time" in caplog.text
    assert "2 messages dropped: there is no more time for Frozen" in caplog.text
    assert facts.lost == {"connection lost while sending": 1, "layer away": 2}


def test_at_the_end_the_patience_with_each_layer_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    layer, other = MemoryChannelLayer(), FlakyLayer()
    sender = sender_of(layer, stopping=True)
    other.send_errors = [LayerUnavailable("here", "away", uncertain=False) for _ in range(3)]
    sender.add([outgoing(other, "a", 1), outgoing(layer, "a", 2)])
    sender.drain(30)
    assert (numbers(layer, "a"), numbers(other, "a")) == ([2], [1])
    other.send_errors = [LayerUnavailable("here", "away", uncertain=False) for _ in range(10_000)]
    monkeypatch.setattr(module, "LAST_SECONDS", 0.05)
    sender.add([outgoing(other, "a", 3)])
    sender.drain(30)
    assert "1 messages dropped: channel layer at here is unavailable: away" in caplog.text


def test_the_thread_to_another_layer_ends_when_nothing_comes_and_starts_again(
    monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.0)
    layer = MemoryChannelLayer()
    sender = sender_of(MemoryChannelLayer())
    before = _to_others()
    for number in range(3):
        sender.add([outgoing(layer, "a", number)])
        assert taken(layer, "a", 1) == [number]
        eventually(lambda: _to_others() <= before, "the end of the thread")


@pytest.mark.parametrize("first_use", ["before the end", "after the end"])
def test_the_thread_to_another_layer_ends_with_the_sender(
    first_use: str, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 3_600.0)
    layer, sender, before = MemoryChannelLayer(), sender_of(MemoryChannelLayer()), _to_others()
    if first_use == "after the end":
        sender.drain()
    sender.add([outgoing(layer, "a", 1)])
    assert taken(layer, "a", 1) == [1]
    sender.drain()
    eventually(lambda: _to_others() <= before, "the end of the thread")


def _to_others() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "sender-to-other-layer"}


def test_a_message_that_comes_while_the_thread_to_another_layer_ends_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.0)

    def scene() -> Scene:
        layer = MemoryChannelLayer()
        courier = module._Courier(module._Line(layer, lambda: False, Facts()))
        courier._thread = threading.current_thread()

        def run() -> None:
            courier._thread = threading.current_thread()
            courier.line.add([outgoing(layer, "a", 1)])
            courier._news.set()
            courier._run()

        def send() -> None:
            courier.line.add([outgoing(layer, "a", 2)])
            courier.wake()

        def check() -> None:
            assert sorted(taken(layer, "a", 2)) == [1, 2]

        return run, send, check

    interleave(scene, module)


def test_an_error_that_ends_the_thread_to_another_layer_ends_nothing_else(
    monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    layer = FlakyLayer()
    layer.send_errors = [SystemExit()]
    sender = sender_of(MemoryChannelLayer())
    sender.add([outgoing(layer, "a", 1)])
    eventually(lambda: not layer.send_errors and sender._couriers[id(layer)]._thread.is_alive() is False, "its end")  # type: ignore[union-attr]
    sender.add([outgoing(layer, "a", 2)])
    assert taken(layer, "a", 1) == [2]
