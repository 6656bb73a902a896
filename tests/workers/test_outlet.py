"""What hosted applications say, on its way to the layer."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from channel_layer.codec import EMPTY, unpack_body
from channel_layer.delivery import SHARED, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from workers import outlet as module
from workers.outlet import Outlet, Said


class Layer(MemoryChannelLayer):
    """Answers what the test says, then stores everything."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Callable[[list[Outgoing]], list[Outgoing]]] = []
        self.batches: list[list[Outgoing]] = []

    async def asend_batch(self, items: Any) -> Any:
        await asyncio.sleep(0)
        if self.answers:
            return self.answers.pop(0)(items)
        self.batches.append(list(items))
        return []


class Speaker:
    def __init__(self, item: Outgoing | None) -> None:
        self.item = item
        self.asked = 0

    def last_words(self) -> Outgoing | None:
        self.asked += 1
        return self.item

    def wake(self) -> None:
        raise AssertionError("it waits for nothing")


class Member:
    """One of those who say the same; may be done with an event, or want to add to its own message."""

    def __init__(self, outlet: Outlet, channel: str, turn: int = 0, news: bool = False) -> None:
        self.outlet, self.channel, self.turn, self.news = outlet, channel, turn, news
        self.last: tuple[Said, int] | None = None
        self.number = 0

    def say(self, text: str) -> Member:
        server = self.channel.partition("!")[0] + "!"
        said = self.outlet.say(self, server, self.channel, 1, {"text": text}, self.number)
        self.last, self.number = (said, len(said.addresses) - 1), said.number
        return self

    def last_words(self) -> Outgoing | None:
        assert self.last is not None
        said, place = self.last
        if said.is_shared and not self.news:
            if self.turn:
                said.end_turn(place, self.turn)
            return None
        item = said.take_out(place) if said.is_shared else said.item
        assert item.headers is not None
        item.headers["turn"] = self.turn
        if self.news:
            item.headers["checkpoint"] = b"new"
        return item if said.is_shared else None

    def wake(self) -> None:
        raise AssertionError("it waits for nothing")


def failing(error: Exception) -> Callable[[list[Outgoing]], list[Outgoing]]:
    def fail(items: list[Outgoing]) -> list[Outgoing]:
        raise error

    return fail


def said(layer: Layer) -> list[tuple[str, dict[str, Any]]]:
    return [(item.target, unpack_body(item.body)) for batch in layer.batches for item in batch]


async def written(outlet: Outlet) -> None:
    if outlet._task is not None:
        await outlet._task


def play(scene: Callable[[Outlet, Layer], Coroutine[Any, Any, None]]) -> Layer:
    layer = Layer()

    async def run() -> None:
        outlet = Outlet(layer)
        await asyncio.wait_for(scene(outlet, layer), 20)
        await asyncio.wait_for(written(outlet), 20)

    asyncio.run(run())
    return layer


def test_what_is_said_meanwhile_is_one_write_and_speakers_have_the_last_word() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        speaker = Speaker(layer.prepare("d!1", {"text": "last"}))
        outlet.ask(speaker)
        outlet.ask(speaker)
        outlet.add(layer.prepare("d!1", {"text": "one"}))
        outlet.add(layer.prepare("d!2", {"text": "two"}))
        await written(outlet)
        assert speaker.asked == 1

    layer = play(scene)
    assert len(layer.batches) == 1
    assert said(layer) == [("d!1", {"text": "one"}), ("d!2", {"text": "two"}), ("d!1", {"text": "last"})]


def test_nothing_said_is_nothing_written() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        outlet.ask(Speaker(None))

    assert play(scene).batches == []


@pytest.mark.parametrize(
    "answer",
    [failing(LayerUnavailable("here", "away", uncertain=False)), lambda items: list(items)],
    ids=["away", "full"],
)
def test_what_was_not_stored_is_sent_again_ahead_of_what_came_later(
    answer: Callable[[list[Outgoing]], list[Outgoing]],
) -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        layer.answers = [answer] * 2
        outlet.add(layer.prepare("d!1", {"text": "one"}))
        await asyncio.sleep(0)
        outlet.add(layer.prepare("d!1", {"text": "two"}))

    assert said(play(scene)) == [("d!1", {"text": "one"}), ("d!1", {"text": "two"})]


def test_who_waits_for_messages_to_be_stored_is_woken_each_time_more_are() -> None:
    found: list[tuple[bool, bool]] = []

    async def scene(outlet: Outlet, layer: Layer) -> None:
        class Waiting(Speaker):
            def wake(self) -> None:
                found.append((outlet.has_written(2), outlet.has_written(3)))
                if not found[-1][1]:
                    outlet.wake_later(self)

        # Two for one connection and one that joins, refused at first; another comes while they wait.
        refused = asyncio.Event()
        layer.answers = [lambda items: refused.set() or list(items)]
        Member(outlet, "d!1").say("equal")
        Member(outlet, "d!2").say("equal")
        outlet.add(layer.prepare("d!1", {"text": "behind"}))
        assert not outlet.has_written(1)
        outlet.wake_later(Waiting(None))
        await refused.wait()
        await asyncio.sleep(0)
        assert not outlet.has_written(1)
        outlet.add(layer.prepare("d!3", {"text": "last"}))
        assert outlet.added == 3

    assert len(play(scene).batches) == 1
    assert found == [(True, True)]


@pytest.mark.parametrize(
    "error", [LayerUnavailable("here", "an answer was lost"), RuntimeError("a bug")], ids=["lost", "bug"]
)
def test_of_what_may_have_been_stored_only_the_news_are_sent_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        layer.answers = [failing(error)]
        outlet.add(layer.prepare("d!1", {"text": "one"}, {"epoch": 3, "turn": 7}))

    layer = play(scene)
    [[item]] = layer.batches
    assert (item.target, item.body, item.headers) == ("d!1", EMPTY, {"epoch": 3, "turn": 7})
    assert "1 messages of hosted applications may be lost" in caplog.text


@pytest.mark.parametrize(
    ("message", "again"),
    [
        ({"close": 1012, "reason": "service restart"}, {"close": 1012, "reason": "service restart"}),
        ({"accept": True, "text": "hello"}, {"accept": True}),
    ],
    ids=["close", "accept"],
)
def test_what_opens_or_closes_a_connection_is_sent_again_since_it_does_no_harm_twice(
    message: dict[str, Any], again: dict[str, Any]
) -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        layer.answers = [failing(LayerUnavailable("here", "an answer was lost"))]
        outlet.add(layer.prepare("d!1", message, {"epoch": 0, "turn": 2, "ended": True}))

    layer = play(scene)
    assert said(layer) == [("d!1", again)]
    assert layer.batches[0][0].headers == {"epoch": 0, "turn": 2, "ended": True}


def test_of_equal_messages_that_were_put_together_the_news_survive_too() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        layer.answers = [failing(LayerUnavailable("here", "an answer was lost"))]
        for local in "12":
            Member(outlet, f"d!{local}", turn=2).say("same")

    assert said(play(scene)) == [(f"d!{SHARED}", {"reply": {}, "to": [["1", 1, 2], ["2", 1, 2]]})]


def test_equal_messages_to_connections_of_one_server_are_one_message() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        one = Member(outlet, "d!1").say("same")
        Member(outlet, "d!2", turn=7).say("same")
        Member(outlet, "e!1").say("same")
        one.say("other")

    assert said(play(scene)) == [
        (f"d!{SHARED}", {"reply": {"text": "same"}, "to": [["1", 1, 0], ["2", 1, 7]]}),
        ("e!1", {"text": "same"}),
        ("d!1", {"text": "other"}),
    ]


def test_bytes_are_put_together_and_never_with_text() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        speaker = Speaker(None)
        for frame in ({"text": "a"}, {"bytes": b"a"}, {"bytes": b"a"}):
            outlet.say(speaker, "d!", f"d!{outlet.added}", 1, frame, 0)

    assert said(play(scene)) == [
        ("d!0", {"text": "a"}),
        (f"d!{SHARED}", {"reply": {"bytes": b"a"}, "to": [["1", 1, 0], ["2", 1, 0]]}),
    ]


def test_one_who_has_more_to_say_gets_its_message_by_itself() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        for local, news in (("1", True), ("2", False), ("3", True), ("4", False)):
            Member(outlet, f"d!{local}", turn=2, news=news).say("same")

    layer = play(scene)
    assert said(layer) == [
        (f"d!{SHARED}", {"reply": {"text": "same"}, "to": [["2", 1, 2], ["4", 1, 2]]}),
        ("d!1", {"text": "same"}),
        ("d!3", {"text": "same"}),
    ]
    assert [item.headers for item in layer.batches[0][1:]] == [{"epoch": 1, "turn": 2, "checkpoint": b"new"}] * 2


def test_one_who_is_left_alone_gets_an_ordinary_message_and_none_is_written_for_nobody() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        Member(outlet, "d!1", turn=2, news=True).say("same")
        Member(outlet, "d!2", turn=3).say("same")
        for local in "34":
            Member(outlet, f"d!{local}", turn=2, news=True).say("other")
        await written(outlet)
        assert outlet.has_written(outlet.added)

    layer = play(scene)
    assert [item.target for item in layer.batches[0]] == ["d!2", "d!1", "d!3", "d!4"]
    assert layer.batches[0][0].headers == {"epoch": 1, "turn": 3}


@pytest.mark.parametrize("seed", range(40))
def test_putting_together_keeps_the_order_of_each_connection(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_RETRY", 0.001)
    dice = random.Random(seed)
    expected: dict[str, list[str]] = defaultdict(list)

    async def scene(outlet: Outlet, layer: Layer) -> None:
        members = [
            Member(outlet, f"{server}!{number}", news=dice.random() < 0.2) for server in "de" for number in "123"
        ]
        for _ in range(60):
            if dice.random() < 0.1:
                await asyncio.sleep(0)  # a write begins
            if dice.random() < 0.1:
                layer.answers.append(failing(LayerUnavailable("here", "away", uncertain=False)))
            member = dice.choice(members)
            expected[member.channel].append(text := dice.choice("ab"))
            member.say(text)

    heard: dict[str, list[str]] = defaultdict(list)
    for target, message in said(play(scene)):
        if "to" in message:
            for local, _, _ in message["to"]:
                heard[f"{target[:2]}{local}"].append(message["reply"]["text"])
        else:
            heard[target].append(message["text"])
    assert heard == expected


def test_applications_wait_while_too_much_waits_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 600)

    async def scene(outlet: Outlet, layer: Layer) -> None:
        away = failing(LayerUnavailable("here", "away", uncertain=False))
        layer.answers = [away] * 3
        for _ in range(3):
            outlet.add(layer.prepare("d!1", {"text": "x" * 100}))
        room = asyncio.create_task(outlet.room())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not room.done()
        await room
        assert len(layer.batches) == 1

    play(scene)


def test_equal_messages_that_are_too_large_together_go_one_by_one() -> None:
    async def scene(outlet: Outlet, layer: Layer) -> None:
        large = "x" * (layer.max_message_size - 20)
        for number in range(3):
            Member(outlet, f"d!{number}", turn=number).say(large)
        outlet.add(layer.prepare("d!0", {"text": "behind"}))

    layer = play(scene)
    items = [item for batch in layer.batches for item in batch]
    assert [item.target for item in items] == ["d!0", "d!1", "d!2", "d!0"]
    assert [(item.headers or {}).get("turn") for item in items] == [0, 1, 2, None]
