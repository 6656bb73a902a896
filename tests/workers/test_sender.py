from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Outcome
from workers import sender as module
from workers.facts import Facts
from workers.sender import Sender

from .interleaving import Scene, interleave
from .tools import FlakyLayer, everything, outgoing


def numbers(layer: Any, channel: str) -> list[int]:
    return [delivery.message["n"] for delivery in everything(layer, channel)]


@pytest.fixture
def sender() -> Sender:
    return Sender(lambda: False)


def test_nothing_leaves_before_a_flush(sender: Sender) -> None:
    layer = MemoryChannelLayer()
    sender.add([outgoing(layer, "a", 1)])
    assert numbers(layer, "a") == []
    sender.flush()
    assert numbers(layer, "a") == [1]


def test_much_is_flushed_at_once(sender: Sender) -> None:
    layer = MemoryChannelLayer()
    sender.add([outgoing(layer, "a", n) for n in range(module.MOST_ITEMS)])
    assert numbers(layer, "a") == list(range(module.MOST_ITEMS))


def test_many_bytes_are_flushed_at_once(sender: Sender) -> None:
    layer = MemoryChannelLayer()
    sender.add([(layer, layer.prepare("a", {"n": 1, "x": b"x" * module.MOST_BYTES}))])
    assert numbers(layer, "a") == [1]


def test_each_layer_gets_its_own(sender: Sender) -> None:
    one, two = MemoryChannelLayer(), MemoryChannelLayer()
    sender.add([outgoing(one, "a", 1), outgoing(two, "a", 2), outgoing(one, "a", 3)])
    sender.flush()
    assert (numbers(one, "a"), numbers(two, "a")) == ([1, 3], [2])


def test_layers_are_told_that_there_are_others(sender: Sender) -> None:
    told: list[str] = []

    class Named(MemoryChannelLayer):
        def beside_others(self) -> None:
            told.append(self.name)

    one, two = Named(), Named()
    one.name, two.name = "one", "two"
    sender.add([outgoing(one, "a", 1)])
    sender.flush()
    assert told == []
    sender.add([outgoing(two, "a", 2)])
    sender.flush()
    assert set(told) == {"one", "two"}


def test_a_full_channel_holds_up_no_other_and_keeps_its_order(sender: Sender, eventually: Any) -> None:
    layer = MemoryChannelLayer(channel_capacity={"full": 2})
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
    sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    monkeypatch.setattr(module, "FULL_SECONDS", 0.05)
    layer = MemoryChannelLayer(capacity=1)
    sender.add([outgoing(layer, "full", n) for n in range(3)])

    def dropped() -> bool:
        sender.flush()
        return "2 messages to full dropped" in caplog.text

    eventually(dropped, "the drop")
    assert numbers(layer, "full") == [0]
    sender.add([outgoing(layer, "full", 9)])
    sender.flush()
    assert numbers(layer, "full") == [9]


def test_a_layer_that_is_away_gets_everything_in_order_when_it_is_back(sender: Sender, eventually: Any) -> None:
    layer = FlakyLayer()
    layer.send_errors = [LayerUnavailable("here", "away", uncertain=False) for _ in range(3)]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    sender.add([outgoing(layer, "a", 2)])

    def back() -> bool:
        sender.flush()
        return layer.channel_statistics("a")["messages_pending"] == 2

    eventually(back, "both messages")
    assert numbers(layer, "a") == [1, 2]


def test_what_may_have_been_sent_is_not_sent_again(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    layer = FlakyLayer()
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
    sender: Sender, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    layer = Partly(channel_capacity={"full": 1})
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
    sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any, patience: str
) -> None:
    monkeypatch.setattr(module, patience, 0.0)
    layer = Partly(channel_capacity={"full": 1})
    layer.away = ("away",)
    sender.add([outgoing(layer, name, n) for n in (1, 2) for name in ("away", "full")])
    given_up, other = ("full", "away") if patience == "FULL_SECONDS" else ("away", "full")

    def dropped() -> bool:
        sender.flush()
        return f"messages to {given_up} dropped" in caplog.text

    eventually(dropped, "the drop")
    assert f"to {other} dropped" not in caplog.text
    assert {item.target for item in sender._lines[id(layer)].kept} == {other}


def test_a_fault_in_the_layer_does_not_reach_the_caller(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    layer = FlakyLayer()
    layer.send_errors = [ZeroDivisionError()]
    sender.add([outgoing(layer, "a", 1)])
    sender.flush()
    assert "1 messages dropped" in caplog.text
    sender.add([outgoing(layer, "a", 2)])
    sender.flush()
    assert numbers(layer, "a") == [2]


def test_what_is_for_later_waits_for_its_time_or_the_stop() -> None:
    stopping = threading.Event()
    sender = Sender(stopping.is_set)
    layer = MemoryChannelLayer()
    sender.add_later(0, *outgoing(layer, "a", 1))
    sender.add_later(3600, *outgoing(layer, "a", 2))
    sender.flush()
    assert numbers(layer, "a") == [1]
    stopping.set()
    sender.drain()
    assert numbers(layer, "a") == [2]


def test_the_last_flush_gives_up_on_a_full_channel_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.05)
    sender = Sender(lambda: True)
    layer = MemoryChannelLayer(capacity=1)
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
    sender = Sender(lambda: True)
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
    sender, layer = Sender(lambda: True), FlakyLayer()
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
    line = module._Line(clock.layer, Facts())
    assert line.take([first]) == [first]
    assert line.take([second, other]) == [second, other]
    line.settle([second, other], [second, other], None, None)
    clock.now += module.FULL_SECONDS + 0.1
    line.settle([first], [first], None, None)
    assert line.kept == [other]
    assert "2 messages to full dropped" in caplog.text


def test_what_another_thread_sends_while_the_last_flush_begins_arrives_too() -> None:
    def scene() -> Scene:
        sender = Sender(lambda: True)
        layer, other = MemoryChannelLayer(), MemoryChannelLayer()
        sender.add([outgoing(layer, "a", 0)])
        sender.flush()
        sender.add([outgoing(layer, "a", 1)])

        def send() -> None:
            sender.add([outgoing(other, "a", 2)])
            sender.flush()

        def check() -> None:
            assert (numbers(layer, "a"), numbers(other, "a")) == ([0, 1], [2])

        return sender.drain, send, check

    interleave(scene, module)


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_a_channel_that_takes_little_by_little_does_not_hold_up_the_end_for_ever(
    seconds: float, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.step = 0.9
    sender = Sender(lambda: True)
    sender.add([outgoing(clock.layer, "full", n) for n in range(40)])
    started = clock.now
    sender.drain(seconds)
    allowed = max(seconds, 2 * module.LAST_SECONDS)
    assert allowed <= clock.now - started < allowed + clock.step
    assert f"{40 - len(clock.taken)} messages dropped: there is no more time" in caplog.text


def test_two_threads_that_flush_keep_the_order_of_one_that_adds(sender: Sender) -> None:
    layer = MemoryChannelLayer()
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


def receive(sender: Sender, layer: Any) -> list[int]:
    return [delivery.message["n"] for delivery in sender.receive(layer, ["in"], 10, 20)]


def test_what_lies_is_sent_with_the_receiving(sender: Sender) -> None:
    layer, other = MemoryChannelLayer(), MemoryChannelLayer()
    layer.send("in", {"n": 0})
    sender.add([outgoing(layer, "a", 1), outgoing(other, "a", 2), outgoing(layer, "a", 3)])
    assert receive(sender, layer) == [0]
    assert (numbers(layer, "a"), numbers(other, "a")) == ([1, 3], [2])
    layer.send("in", {"n": 4})
    assert receive(sender, layer) == [4]
    assert numbers(layer, "a") == []


def test_what_was_refused_while_receiving_is_sent_later_and_in_order(sender: Sender, eventually: Any) -> None:
    layer = MemoryChannelLayer(channel_capacity={"full": 1})
    layer.send("in", {"n": 0})
    sender.add([outgoing(layer, "full", n) for n in range(3)])
    assert receive(sender, layer) == [0]
    sender.add([outgoing(layer, "full", 3)])
    arrived: list[int] = []

    def all_arrived() -> bool:
        layer.send("in", {"n": 0})
        arrived.extend(numbers(layer, "full"))
        assert receive(sender, layer) == [0]
        return len(arrived) == 4

    eventually(all_arrived, "all four messages")
    assert arrived == [0, 1, 2, 3]


def test_what_a_layer_that_is_away_surely_did_not_get_is_kept(sender: Sender, eventually: Any) -> None:
    layer = FlakyLayer()
    layer.send("other", {"n": 0})
    sender.add([outgoing(layer, "b", 1)])
    layer.send_errors = [LayerUnavailable("here", "away", uncertain=False)]
    assert [delivery.channel for delivery in sender.receive(layer, ["other"], 1, 20)] == ["other"]

    def arrived() -> bool:
        sender.flush()
        return numbers(layer, "b") == [1]

    eventually(arrived, "the message")


def test_messages_that_a_layer_cannot_send_at_all_are_reported(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    layer = FlakyLayer()
    layer.send_errors = [LayerConfigurationError("no such thing")]
    sender.add([outgoing(layer, "b", 1)])
    with pytest.raises(LayerConfigurationError):
        sender.receive(layer, ["other"], 1, 0)
    assert "1 messages dropped" in caplog.text


def test_others_send_while_one_receives(sender: Sender, eventually: Any) -> None:
    layer = MemoryChannelLayer()
    sender.add([outgoing(layer, "a", 1)])
    thread = threading.Thread(target=receive, args=(sender, layer))
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
        self.sender = Sender(lambda: False)

    def add(self, *numbers: int) -> None:
        self.sender.add([outgoing(self.layer, "a", number) for number in numbers])

    def add_later(self, number: int) -> None:
        self.sender.add_later(0, *outgoing(self.layer, "a", number))

    def add_and_flush(self, number: int) -> None:
        self.add(number)
        self.sender.flush()

    def receive(self) -> None:
        self.sender.receive(self.layer, ["in"], 1, 0)

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
@pytest.mark.parametrize("order", [1, -1])
def test_a_layer_that_is_away_or_broken_keeps_nothing_from_another(
    order: int, error: bool, sender: Sender, eventually: Any
) -> None:
    away, fine = FlakyLayer(), MemoryChannelLayer()
    errors: list[BaseException] = [LayerUnavailable("here", "away", uncertain=False)] * 2
    away.send_errors = errors if error else [ZeroDivisionError()]
    sender.add([outgoing(away, "a", 1), outgoing(fine, "a", 2)][::order])
    sender.flush()
    assert numbers(fine, "a") == [2]
    sender.add([outgoing(away, "a", 3), outgoing(fine, "a", 4)][::order])
    sender.flush()
    assert numbers(fine, "a") == [4]
    arrived: list[int] = []

    def all_arrived() -> bool:
        sender.flush()
        arrived.extend(numbers(away, "a"))
        return sender.is_empty

    eventually(all_arrived, "what the other layer did not get at first")
    assert arrived == ([1, 3] if error else [3])


def test_who_sends_more_than_a_full_channel_takes_waits_and_no_more_than_so_much_is_kept(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 20)
    monkeypatch.setattr(module, "MOST_ITEMS", 5)
    tried: list[int] = []

    class Watched(MemoryChannelLayer):
        def send_batch(self, items: Any) -> Any:
            tried.append(len(items))
            return super().send_batch(items)

    layer = Watched(capacity=10)

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
