from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import pytest

from channel_layer.channel import Channel
from channel_layer.delivery import Delivery, Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outbox import Outbox
from workers.exceptions import ChannelSocketException, ConsumeLater, LeaveToOthers
from workers.hooks import Hook, Hooks
from workers.runner import LONGEST_PAUSE, Runner
from workers.streams import Stream

from .tools import Routes, everything


class Case:
    """One consumer and what came of running it."""

    def __init__(self, consumer: Any, hooks: tuple[Hook, ...] = (), retries: int = 10) -> None:
        self.layer = MemoryChannelLayer()
        self.later: list[tuple[float, Any, Outgoing]] = []
        self.runner = Runner(
            self.layer, Routes(here=consumer), Hooks(hooks), retries, lambda *entry: self.later.append(entry)
        )

    def run(self, headers: dict[str, Any] | None = None, **content: Any) -> str:
        content.setdefault("reply_channel", "reply")
        self.outbox: Outbox
        self.outbox, outcome, self.message, _ = self.runner.run(Delivery("here", content, headers))
        return outcome

    def replies(self, channel: str = "reply") -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        for layer, item in self.outbox:
            assert layer.send_batch([item]) == []
        self.outbox = []
        return [(found.message, found.headers) for found in everything(self.layer, channel)]


def test_what_is_left_to_others_goes_back_to_where_it_was() -> None:
    case = Case(raising(LeaveToOthers()), retries=2)
    case.layer.send("here", {"behind": True})
    for tries in (2, 3, 5000):
        assert case.run({"tries": tries}, tries=tries) == "later"
    found = everything(case.layer, "here")
    assert [delivery.message.get("tries") for delivery in found] == [5000, 3, 2, None]
    assert [(delivery.headers or {}).get("tries") for delivery in found] == [5000, 3, 2, None]
    assert case.outbox == case.later == []


def test_what_cannot_be_put_back_is_sent_later_without_a_limit_or_may_be_there() -> None:
    for uncertain in (False, True):
        case = Case(raising(LeaveToOthers()), retries=2)

        def fail(*args: Any, uncertain: bool = uncertain) -> None:
            raise LayerUnavailable("here", "it is away", uncertain=uncertain)

        case.layer._put_front = fail  # type: ignore[method-assign]
        assert case.run({"tries": 5000}) == "later"
        assert [pause for pause, _, _ in case.later] == [LONGEST_PAUSE] * (not uncertain)
    assert Case(raising(ConsumeLater()), retries=2).run({"tries": 2}) == "dropped"


def reply(message: Any) -> None:
    message.reply_channel.send({"text": "one"})
    message.reply_channel.send({"text": "two"})


def raising(error: BaseException) -> Any:
    def consumer(message: Any) -> None:
        message.reply_channel.send({"text": "queued"})
        raise error

    return consumer


ENDED = ({}, {"turn": 7})
FAILED = ({}, {"turn": 7, "failed": True})


def test_sends_are_collected_and_the_turn_ends_with_the_last_reply() -> None:
    case = Case(reply)
    assert case.run({"turn": 7}) == "ok"
    assert case.replies() == [({"text": "one"}, None), ({"text": "two"}, {"turn": 7})]


def test_without_a_turn_nothing_is_added() -> None:
    case = Case(lambda message: None)
    assert case.run() == "ok"
    assert case.outbox == []


def test_a_consumer_that_replies_nothing_ends_its_turn_with_an_empty_message() -> None:
    case = Case(lambda message: None)
    case.run({"turn": 7})
    assert case.replies() == [ENDED]


def test_a_reply_to_somebody_else_or_to_a_group_ends_no_turn() -> None:
    def consumer(message: Any) -> None:
        Channel("other", channel_layer=case.layer).send({})

    case = Case(consumer)
    case.run({"turn": 7})
    assert case.replies() == [ENDED]


def test_a_message_that_no_route_takes_is_ignored_and_its_turn_ends() -> None:
    case = Case(lambda message: None)
    case.outbox, outcome, _, _ = case.runner.run(Delivery("elsewhere", {"reply_channel": "reply"}, {"turn": 7}))
    assert outcome == "ignored"
    assert case.replies() == [ENDED]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"), SystemExit(1), KeyboardInterrupt(), RecursionError(), MemoryError(), GeneratorExit(),
        asyncio.CancelledError(),
    ],
    ids=repr,
)  # fmt: skip
def test_whatever_a_consumer_raises_drops_its_sends_and_ends_the_turn_as_failed(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(raising(error))
    assert case.run({"turn": 7}) == "failed"
    assert case.replies() == [FAILED]
    assert "raising.<locals>.consumer on here" in caplog.text


def test_a_consumer_that_raises_has_sent_what_it_sent_immediately() -> None:
    def consumer(message: Any) -> None:
        message.reply_channel.send({"text": "now"}, immediately=True)
        raise ValueError

    case = Case(consumer)
    case.run({"turn": 7})
    assert case.replies() == [({"text": "now"}, None), FAILED]


def test_endless_recursion_ends_the_consumer() -> None:
    def consumer(message: Any) -> None:
        consumer(message)

    assert Case(consumer).run() == "failed"


def test_a_router_that_raises_fails_the_message(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(reply)
    case.runner._router.match = lambda message: 1 / 0
    assert case.run({"turn": 7}) == "failed"
    assert case.replies() == [FAILED]
    assert "the routing on here" in caplog.text


class Closing(ChannelSocketException):
    def run(self, message: Any) -> None:
        message.reply_channel.send({"close": True})


class Denying(Closing):
    keeps_sends: ClassVar[bool] = False


class Broken(ChannelSocketException):
    def run(self, message: Any) -> None:
        message.reply_channel.send({"close": True})
        raise SystemExit(3)


def test_a_socket_exception_is_run_behind_what_was_queued() -> None:
    case = Case(raising(Closing()))
    assert case.run({"turn": 7}) == "ok"
    assert case.replies() == [({"text": "queued"}, None), ({"close": True}, {"turn": 7})]


def test_a_socket_exception_may_drop_what_was_queued() -> None:
    case = Case(raising(Denying()))
    case.run({"turn": 7})
    assert case.replies() == [({"close": True}, {"turn": 7})]


def test_a_socket_exception_whose_run_fails_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(raising(Broken()))
    assert case.run({"turn": 7}) == "failed"
    assert case.replies() == [FAILED]
    assert "error in Broken raised by" in caplog.text


def test_consume_later_puts_the_message_back_with_its_turn_and_state() -> None:
    case = Case(raising(ConsumeLater()))
    assert case.run({"turn": 7, "state": b"s"}, text="hello") == "later"
    assert case.replies("here") == [
        ({"reply_channel": "reply", "text": "hello"}, {"turn": 7, "state": b"s", "tries": 1})
    ]
    assert case.replies() == [({}, {"later": 7})]


def test_later_tries_wait_longer_and_longer() -> None:
    case = Case(raising(ConsumeLater()))
    for tries in range(1, 10):
        assert case.run({"turn": 7, "tries": tries}) == "later"
        assert case.replies() == [({}, {"later": 7})]
    pauses = [pause for pause, _, _ in case.later]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] == 1.0
    assert [item.headers["tries"] for _, _, item in case.later if item.headers] == list(range(2, 11))


def test_after_too_many_tries_the_message_is_dropped_and_the_turn_ends(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(raising(ConsumeLater()), retries=2)
    assert case.run({"turn": 7, "tries": 2}) == "dropped"
    assert case.replies() == [FAILED]
    assert "asked for later 2 times; dropped" in caplog.text


def test_a_message_changed_so_that_it_cannot_be_put_back_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    def consumer(message: Any) -> None:
        message.content["user"] = object()
        raise ConsumeLater

    case = Case(consumer)
    assert case.run({"turn": 7}) == "dropped"
    assert case.replies() == [FAILED]
    assert "'user'" in caplog.text


@pytest.mark.parametrize("tries", ["many", None, b"", []])
def test_headers_of_the_wrong_type_fail_the_message_only(tries: Any) -> None:
    case = Case(raising(ConsumeLater()))
    assert case.run({"turn": 7, "tries": tries}) == "failed"
    assert case.replies() == [FAILED]


def test_a_consumer_that_takes_its_message_apart_still_ends_its_turn() -> None:
    def consumer(message: Any) -> None:
        message.content.clear()
        message.reply_channel = None
        message.headers = {}

    case = Case(consumer)
    assert case.run({"turn": 7}) == "ok"
    assert case.replies() == [ENDED]


def test_headers_cannot_be_changed() -> None:
    def consumer(message: Any) -> None:
        message.headers["turn"] = 8

    assert Case(consumer).run({"turn": 7}) == "failed"


@pytest.mark.parametrize("name", ["two words", "a!b!c", "", "x" * 500])
def test_a_reply_channel_that_is_no_name_gets_nothing(name: str) -> None:
    case = Case(lambda message: None)
    assert case.run({"turn": 7}, reply_channel=name) == "ok"
    assert case.outbox == []


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        (None, {"a": b"new"}, {"state": {"a": b"new"}}),
        ({"a": b"old", "b": b"1"}, {"a": b"new", "b": b"1"}, {"state": {"a": b"new"}}),
        ({"a": b"old", "b": b"1"}, {"b": b"1"}, {"state": {"a": None}}),
        ({"a": b"old"}, None, {"state": {"a": None}}),
        ({"a": b"old"}, {"a": b"old"}, {}),
        (None, None, {}),
        ({"a": b"old"}, "text", {}),
        ({"a": b"old"}, {"a": "text"}, {}),
        (b"junk", {"a": b"new"}, {"state": {"a": b"new"}}),
    ],
)
def test_changed_state_goes_back_with_the_turn(before: Any, after: Any, sent: dict[str, Any]) -> None:
    def consumer(message: Any) -> None:
        assert message.state == before
        message.state = after

    case = Case(consumer)
    case.run({"turn": 7} | ({} if before is None else {"state": before}))
    assert case.replies() == [({}, {"turn": 7} | sent)]


@pytest.mark.parametrize("replies", [True, False])
def test_changed_state_goes_ahead_of_messages_whose_consumers_may_ask_for_it(replies: bool) -> None:
    def consumer(message: Any) -> None:
        message.state = {"a": b"new"}
        if replies:
            message.reply_channel.send({"text": "reply"})
        Channel("next", channel_layer=message.channel_layer).send({"reply_channel": "reply"})

    case = Case(consumer)
    case.run({"turn": 7})
    targets = [item.target for _, item in case.outbox]
    assert targets.index("reply") < targets.index("next")
    assert case.replies() == [({}, {"state": {"a": b"new"}}), ({"text": "reply"} if replies else {}, {"turn": 7})]


def test_a_message_that_is_tried_again_has_the_state_that_the_last_try_left() -> None:
    def consumer(message: Any) -> None:
        message.state = {"n": b"%d" % (int((message.state or {"n": b"0"})["n"]) + 1)}
        raise ConsumeLater

    case = Case(consumer)
    assert case.run({"turn": 7, "state": {"n": b"1"}}) == "later"
    assert case.replies() == [({}, {"state": {"n": b"2"}}), ({}, {"later": 7})]
    [again] = case.layer.receive_batch(["here"])
    assert again.headers == {"turn": 7, "state": {"n": b"2"}, "tries": 1}


class Sending(Hook):
    def before(self, message: Any) -> None:
        message.reply_channel.send({"text": "before"})

    def after(self, message: Any, error: BaseException | None) -> None:
        message.reply_channel.send({"text": f"after {type(error).__name__}"})


class Fatal(Hook):
    def before(self, message: Any) -> None:
        raise SystemExit

    def after(self, message: Any, error: BaseException | None) -> None:
        raise SystemExit


def test_what_hooks_send_goes_with_what_the_consumer_sent() -> None:
    case = Case(lambda message: message.reply_channel.send({"text": "consumer"}), (Sending(),))
    case.run({"turn": 7})
    assert case.replies() == [
        ({"text": "before"}, None), ({"text": "consumer"}, None), ({"text": "after NoneType"}, {"turn": 7}),
    ]  # fmt: skip


def test_hooks_learn_what_was_raised() -> None:
    case = Case(raising(ValueError()), (Sending(),))
    case.run({"turn": 7})
    assert case.replies() == [({"text": "after ValueError"}, {"turn": 7, "failed": True})]


@pytest.mark.parametrize(("consumer", "outcome"), [(reply, "ok"), (raising(ValueError()), "failed")])
def test_hooks_that_exit_change_nothing(consumer: Any, outcome: str) -> None:
    case = Case(consumer, (Fatal(),))
    assert case.run({"turn": 7}) == outcome
    last = case.replies()[-1][1]
    assert last is not None
    assert last["turn"] == 7


async def async_reply(message: Any) -> None:
    await asyncio.sleep(0)
    message.reply_channel.send({"text": "async"})


def test_async_consumers_collect_their_sends_run_after_run() -> None:
    case = Case(async_reply)
    for _ in range(3):
        assert case.run({"turn": 7}) == "ok"
        assert case.replies() == [({"text": "async"}, {"turn": 7})]


def test_an_async_consumer_that_raises_fails_like_any_other() -> None:
    async def consumer(message: Any) -> None:
        message.reply_channel.send({})
        raise SystemExit

    case = Case(consumer)
    assert case.run({"turn": 7}) == "failed"
    assert case.replies() == [FAILED]


def test_tasks_that_an_async_consumer_leaves_are_cancelled() -> None:
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def consumer(message: Any) -> None:
        case.task = asyncio.create_task(linger())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    case = Case(consumer)
    assert case.run() == "ok"
    assert ended.is_set()


def test_the_sender_of_a_request_is_told_of_a_failure() -> None:
    case = Case(raising(ValueError()))
    assert case.run({"flow": "flow?x"}) == "failed"
    assert case.replies() == [({}, {"failed": True})]


def test_the_sender_of_a_request_that_was_dealt_with_is_told_nothing_more() -> None:
    case = Case(reply)
    assert case.run({"flow": "flow?x"}) == "ok"
    assert case.replies() == [({"text": "one"}, None), ({"text": "two"}, None)]


class Told(Stream):
    """Sends what happens to it."""

    def __init__(self, message: Any) -> None:
        self._reply = message.reply_channel

    async def run(self) -> None:
        await self._reply.asend({"text": "run"}, immediately=True)

    def refuse(self) -> None:
        self._reply.send({"text": "refused"})


def test_a_stream_that_a_consumer_returns_is_begun_inside_it() -> None:
    case = Case(Told)
    assert case.run() == "ok"
    assert case.replies() == [({"text": "run"}, None)]
    case.runner._begin_stream = lambda stream: stream.refuse()
    assert case.run() == "ok"
    assert [item.target for _, item in case.outbox] == ["reply"]


def test_one_that_cannot_be_begun_is_an_error_of_its_consumer() -> None:
    def fails(stream: Stream) -> None:
        raise RuntimeError("no thread")

    case = Case(Told)
    case.runner._begin_stream = fails
    assert case.run({"turn": 7}) == "failed"
    assert case.replies() == [FAILED]


def test_whatever_else_a_consumer_returns_means_nothing() -> None:
    assert Case(lambda message: "a string").run() == "ok"


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_consumer_returns_and_does_not_send_is_told_of_once(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def returning(message: Any) -> dict[str, str]:
        return {"text": "hello"}

    async def returning_later(message: Any) -> dict[str, str]:
        return {"text": "hello"}

    case = Case(returning_later if is_async else returning)
    assert [case.run(), case.run()] == ["ok", "ok"]
    [text] = caplog.messages
    assert "returned a dict, which goes nowhere; send it: message.reply_channel.send({...})" in text


def test_other_results_are_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    assert Case(lambda message: 7).run() == "ok"
    assert caplog.messages == []


def test_the_name_of_a_user_is_told_once_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.runner.MOST_NAMED", 2)
    names = {"reply": "ada"}

    def consumer(message: Any) -> None:
        message.user_name = names.get(message.reply_channel.name)

    case = Case(consumer)

    def told(channel: str) -> Any:
        case.run({"turn": 1}, reply_channel=channel)
        [(_, headers)] = case.replies(channel)
        return (headers or {}).get("user")

    assert [told("reply"), told("reply"), told("other")] == ["ada", None, None]
    names["reply"] = "bob"
    assert [told("reply"), told("reply")] == ["bob", None]
    names.update(one="x", two="y")
    assert [told("one"), told("two"), told("reply")] == ["x", "y", "bob"], "only the last ones are remembered"
