"""The public suite on the layers that need no server."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from channel_layer import names, sqlite
from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.delivery import Delivery, Outgoing
from channel_layer.draft import DraftChannelLayer
from channel_layer.inspection import GroupSizes, Look
from channel_layer.memory import MemoryChannelLayer
from channel_layer.sqlite import SqliteChannelLayer, schema
from tests.fixtures.draft_layer import FileChannelLayer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class WithOwnTime(ConformanceSuite):
    """The suite for layers whose clock the test moves."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture(autouse=True)
    def moves_time(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        def wait(seconds: float) -> None:
            clock.now += seconds

        monkeypatch.setattr(self, "wait", wait)


class TestMemory(WithOwnTime):
    @pytest.fixture
    def make_layer(self, clock: Clock) -> MakeLayer:
        made: list[MemoryChannelLayer] = []

        def make(**options: object) -> MemoryChannelLayer:
            if not made:
                made.append(MemoryChannelLayer(clock=clock, **options))
            return made[0]

        return make


class TestSqlite(WithOwnTime):
    """The clock of all processes is moved at once; where they must show that they live, time passes as it does."""

    elsewhere = {"file": "elsewhere.sqlite3"}

    @pytest.fixture(autouse=True)
    def tells_the_layer(self, clock: Clock, moves_time: None, monkeypatch: pytest.MonkeyPatch) -> None:
        began, real = clock.now, schema.clock
        reading = [module for module in vars(sqlite).values() if getattr(module, "clock", None) is real]
        assert len(reading) > 5
        self.moved = lambda: real() + clock.now - began
        for module in reading:
            monkeypatch.setattr(module, "clock", self.moved)

    def let_run(self, seconds: float) -> None:
        time.sleep(seconds)

    @pytest.fixture
    def make_layer(self, tmp_path: Path) -> Iterator[MakeLayer]:
        made: list[SqliteChannelLayer] = []

        def make(file: str = "here.sqlite3", **options: object) -> SqliteChannelLayer:
            made.append(SqliteChannelLayer(tmp_path / file, **options))
            made[-1].index._clock = self.moved
            return made[-1]

        yield make
        for layer in made:
            layer.close()


BEYOND_THE_DRAFT = {
    "test_members_of_one_process_get_one_delivery_together": "the draft sends one message to each member",
    "test_members_in_several_processes_all_get_the_message": "the draft sends one message to each member",
    "test_who_is_added_after_the_send_does_not_get_it": "the draft sends one message to each member",
    "test_who_is_discarded_after_the_send_still_gets_it": "the draft sends one message to each member",
    "test_a_membership_expires_beside_one_that_was_renewed": "the draft sends one message to each member",
    "test_groups_work": "the draft sends one message to each member",
    "test_a_group_passes_over_a_full_member_and_counts_it": "the draft does not tell how many members were full",
    "test_what_is_put_back_comes_first_in_its_order_with_its_headers": "the draft stores at the end only",
    "test_putting_back_does_not_ask_for_capacity": "the draft asks for it",
    "test_what_is_put_back_expires_when_it_would_have": "the draft knows no time of expiry but its own",
}
"""Tests of the suite that ask for what the draft does not promise, and why."""


class TestDraft(WithOwnTime):
    """A layer of Channels 1 behind its adapter, as far as the draft's own promises go."""

    elsewhere = {"file": "elsewhere"}

    def test_what_is_left_out_exists(self) -> None:
        assert [name for name in BEYOND_THE_DRAFT if not hasattr(ConformanceSuite, name)] == []

    @pytest.fixture(autouse=True)
    def only_what_the_draft_promises(self, request: pytest.FixtureRequest) -> None:
        if reason := BEYOND_THE_DRAFT.get(request.node.originalname):
            pytest.skip(reason)

    @pytest.fixture
    def make_layer(self, clock: Clock, tmp_path: Path) -> Iterator[MakeLayer]:
        made: list[DraftChannelLayer] = []

        def make(
            file: str = "here", max_message_size: int | None = None, presence: float = 30, **options: Any
        ) -> DraftChannelLayer:
            options = {"capacity": 10_000, **options}
            made.append(DraftChannelLayer(FileChannelLayer(str(tmp_path / file), clock=clock, **options)))
            if max_message_size is not None:
                made[-1].max_message_size = max_message_size
            return made[-1]

        yield make
        for layer in made:
            layer.close()


class Memory(MemoryChannelLayer):
    """A layer to break in one place."""


class Backwards(Memory):
    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        with self._lock:
            for queue in self._queues.values():
                queue._frames.reverse()
            return super().receive_batch(channels, limit, timeout)


class Twice(Memory):
    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        super().send_batch(items)
        return super().send_batch(items)


class Bottomless(Memory):
    def __init__(self, **options: object) -> None:
        super().__init__(**{**options, "capacity": 10**6, "channel_capacity": None})


class Immortal(Memory):
    def __init__(self, **options: object) -> None:
        super().__init__(**{**options, "expiry": 10**6, "group_expiry": 10**6})


class Leaky(Memory):
    def prepare(self, target: str, message: dict, headers: object = None, group: bool = False) -> Outgoing:
        return super().prepare(target, {**message, "headers": headers}, None, group)


class Disorderly(Memory):
    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        return list(reversed(super().send_batch(items)))


class Partial(Memory):
    def _take(self, channels: Sequence[str], limit: int) -> list[Delivery]:
        return next(filter(None, (super(Partial, self)._take([name], limit) for name in channels)), [])


class Forgetful(Memory):
    def group_discard(self, group: str, channel: str) -> None:
        names.check_group(group)
        names.check_channel(channel)


class Shared(Memory):
    def receive(self, channels: Sequence[str], block: bool = False) -> tuple[str | None, dict | None]:
        found = super().receive(channels, block)
        for others in self._copies._waiting.values():
            others.extend((name, found[1]) for name, _ in [others.popleft() for _ in range(len(others))])
        return found


class Renewing(Memory):
    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        super()._put_front(channel, items, [None] * len(expires))


class Greedy(Memory):
    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        for item in items:
            if item.last_will is not None:
                item.last_will.claims = False
        return super().send_batch(items)


class Hoarding(Memory):
    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        super()._put_report(name, data, 10**6)


class Timeless(Memory):
    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        return [0.0] * len(deliveries)


class Grasping(Memory):
    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        found = super()._look(reader, limit, newest)
        self._take([reader], limit)
        return found


class Lingering(Memory):
    def _look(self, reader: str, limit: int, newest: bool) -> list[Look]:
        now, self._clock = self._clock, lambda: 0.0
        try:
            return super()._look(reader, limit, newest)
        finally:
            self._clock = now


class Padded(Memory):
    def _group_sizes(self, limit: int) -> GroupSizes:
        total, largest = super()._group_sizes(limit)
        return GroupSizes(total, largest[::-1])


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Backwards, "test_messages_keep_their_order"),
        (Twice, "test_a_message_is_received_once"),
        (Bottomless, "test_a_full_channel_refuses_and_takes_again_when_it_was_read"),
        (Bottomless, "test_the_first_rule_that_matches_decides"),
        (Immortal, "test_a_message_expires"),
        (Immortal, "test_a_membership_expires"),
        (Leaky, "test_headers_travel_beside_the_content"),
        (Disorderly, "test_what_is_refused_from_a_batch_can_be_sent_later_in_order"),
        (Forgetful, "test_who_was_discarded_gets_nothing"),
        (Shared, "test_what_one_receiver_changes_is_not_seen_by_the_next"),
        (Partial, "test_a_busy_channel_does_not_starve_a_quiet_one"),
        (Renewing, "test_what_is_put_back_expires_when_it_would_have"),
        (Hoarding, "test_a_report_is_dropped_when_its_time_is_over"),
        (Timeless, "test_a_receiver_can_tell_how_long_messages_have_waited"),
        (Grasping, "test_a_look_takes_nothing"),
        (Lingering, "test_what_has_expired_is_not_seen"),
        (Padded, "test_groups_are_listed_with_the_largest_first"),
        (Greedy, "test_a_message_that_claims_a_last_will_comes_once_however_often_it_is_sent"),
    ],
)
def test_a_layer_that_breaks_a_rule_fails_the_suite(broken: type[Memory], rule: str) -> None:
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.now += seconds

    def run(cls: type[Memory]) -> None:
        made: list[Memory] = []

        def make(**options: object) -> Memory:
            made.append(cls(clock=clock, **options))
            made[-1].__dict__ = made[0].__dict__
            return made[-1]

        suite = ConformanceSuite()
        suite.wait = wait  # type: ignore[method-assign]
        test = getattr(suite, rule)
        known = {"make_layer": lambda: make, "layer": make, "order": lambda: ["busy", "quiet"]}
        test(**{name: known[name]() for name in inspect.signature(test).parameters})

    run(Memory)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(broken)
