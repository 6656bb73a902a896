from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from workers.hooks import AfterEvent, Hook, Hooks

if TYPE_CHECKING:
    from channel_layer.channel import Message
    from routing.routes import Consumer
    from workers.instances import Hosted


class Recording(Hook):
    def __init__(self, name: str, calls: list[Any]) -> None:
        self.name, self.calls = name, calls

    def worker_process_ready(self, worker: Any) -> None:
        self.calls.append((self.name, "process", worker))

    def worker_ready(self, worker: Any) -> None:
        self.calls.append((self.name, "ready", worker))

    def before(self, message: Any) -> None:
        self.calls.append((self.name, "before", message))

    def after(self, message: Any, error: BaseException | None) -> None:
        self.calls.append((self.name, "after", message, error))

    def thread_ended(self) -> None:
        self.calls.append((self.name, "thread"))


class Failing(Hook):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def worker_ready(self, worker: Any) -> None:
        raise self.error

    def before(self, message: Any) -> None:
        raise self.error

    def after(self, message: Any, error: BaseException | None) -> None:
        raise self.error


def test_hooks_are_called_in_order_and_after_in_reverse() -> None:
    calls: list[Any] = []
    hooks = Hooks([Recording("a", calls), Recording("b", calls)])
    error = ValueError()
    hooks.worker_process_ready(1)
    hooks.worker_ready(2)
    hooks.before(3)
    hooks.after(4, error)
    hooks.thread_ended()
    assert calls == [
        ("a", "process", 1), ("b", "process", 1),
        ("a", "ready", 2), ("b", "ready", 2),
        ("a", "before", 3), ("b", "before", 3),
        ("b", "after", 4, error), ("a", "after", 4, error),
        ("a", "thread"), ("b", "thread"),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_hook_around_consumers_may_raise_anything(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []
    hooks = Hooks([Failing(error), Recording("next", calls)])
    hooks.before("message")
    hooks.after("message", None)
    assert [call[1] for call in calls] == ["before", "after"]
    assert "Failing.before failed" in caplog.text


def test_a_hook_at_the_start_does_not_swallow_an_exit() -> None:
    with pytest.raises(KeyboardInterrupt):
        Hooks([Failing(KeyboardInterrupt())]).worker_ready(None)


def test_a_hook_overrides_only_what_it_needs() -> None:
    calls: list[Any] = []
    hooks = Hooks([Hook(), Recording("a", calls)])
    hooks.worker_process_ready(1)
    hooks.worker_ready(2)
    hooks.before(3)
    hooks.after(4, None)
    assert [call[1:3] for call in calls] == [("process", 1), ("ready", 2), ("before", 3), ("after", 4)]


def test_a_hook_blocks_at_the_end_of_a_consumer_if_it_does_anything_there() -> None:
    assert not Hooks([Hook()]).after_blocks()
    assert Hooks([Hook(), Recording("a", [])]).after_blocks()


class Curious(Hook):
    """Looks at consumers and events, and fails where it is told to."""

    def __init__(self, calls: list[Any], fails: bool = False) -> None:
        self.calls = calls
        self.fails = fails

    def matched(self, message: Any, consumer: Any) -> None:
        if self.fails:
            raise ValueError("matched")
        self.calls.append(("matched", message, consumer))

    def before_event(self, hosted: Any, kind: str) -> AfterEvent | None:
        if self.fails:
            raise ValueError("event")
        self.calls.append(("event", hosted, kind))
        return None if kind == "uninteresting" else lambda error: self.calls.append(("over", kind, error))


def test_hooks_that_do_not_look_are_not_asked() -> None:
    hooks = Hooks([Hook()])
    assert (hooks.want_consumers, hooks.want_events) == (False, False)
    hooks = Hooks([Hook(), Curious([])])
    assert (hooks.want_consumers, hooks.want_events) == (True, True)


def test_a_hook_sees_consumers_and_events_although_another_fails(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []
    hooks, consumer, hosted = Hooks([Curious([], fails=True), Curious(calls)]), object(), cast("Hosted", "hosted")
    hooks.matched(cast("Message", "message"), cast("Consumer", consumer))
    error = ValueError()
    hooks.after_event(hooks.before_event(hosted, "websocket.receive"), error)
    assert hooks.before_event(hosted, "uninteresting") == []
    assert calls == [
        ("matched", "message", consumer),
        ("event", "hosted", "websocket.receive"),
        ("over", "websocket.receive", error),
        ("event", "hosted", "uninteresting"),
    ]
    assert "Curious.matched failed" in caplog.text
    assert "Curious.before_event failed" in caplog.text
