"""The share of one worker in all instances."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from workers.balance import (
    ANSWER_SECONDS,
    HOLD_BACK_SECONDS,
    LEAST_INSTANCES,
    MOST_AT_A_TIME,
    MOST_IN_A_ROUND,
    REST_SECONDS,
    ROUND_SECONDS,
    Ask,
    Balance,
    Count,
    Give,
)


class Workers:
    """Workers that ask each other; what is given away goes to one that does not hold back, and has room."""

    def __init__(self, *instances: int) -> None:
        self.counts = dict(enumerate(instances))
        self.balances = {number: Balance() for number in self.counts}
        self.takes = True
        self.moves = 0
        self.now = 100.0

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            for number, balance in self.balances.items():
                if self.now >= balance.due_at:
                    self._step(number, balance)

    def _step(self, number: int, balance: Balance) -> None:
        step = balance.step(self.counts[number], self.now)
        if isinstance(step, Ask):
            for other, count in self.counts.items():
                if other != number:
                    balance.hear(str(other), step.number, Count(count, 10_000))
        elif isinstance(step, Give):
            self.moves += step.instances
            ready = [other for other in self.counts if self.balances[other].holds_back_until <= self.now]
            for _, taker in zip(range(step.instances if self.takes else 0), itertools.cycle(ready), strict=False):
                self.counts[number] -= 1
                self.counts[taker] += 1

    @property
    def spread(self) -> list[int]:
        return sorted(self.counts.values())


@pytest.mark.parametrize("counts", [(2_000, 0), (1_000, 1_000, 1_000, 0), (0, 900, 0, 900), (60, 0)], ids=str)
def test_a_new_worker_has_its_part_within_a_minute_and_nothing_moves_from_then_on(counts: Iterable[int]) -> None:
    workers = Workers(*counts)
    workers.pass_by(60)
    share = sum(workers.spread) / len(workers.spread)
    assert share * 0.75 <= workers.spread[0] <= workers.spread[-1] <= share * 1.3
    moves = workers.moves
    workers.pass_by(600)
    assert workers.moves == moves


@pytest.mark.parametrize("counts", [(1_000, 900), (39, 0), (55, 20), (500,), (120, 100, 80)], ids=str)
def test_small_differences_few_instances_and_a_worker_alone_move_nothing(counts: Iterable[int]) -> None:
    workers = Workers(*counts)
    workers.pass_by(120)
    assert workers.moves == 0


def test_not_many_move_at_a_time() -> None:
    workers = Workers(20_000, 0)
    workers.pass_by(3 * ROUND_SECONDS)
    assert 0 < workers.moves <= 3 * MOST_IN_A_ROUND


def test_a_round_is_given_in_portions_and_the_first_of_all_is_told_apart() -> None:
    balance = Balance()
    steps = []
    own, now = 1_000, 0.0
    while len(steps) < 2 * MOST_IN_A_ROUND // MOST_AT_A_TIME:
        step = balance.step(own, now)
        if isinstance(step, Ask):
            balance.hear("a", step.number, Count(1_000 - own, 10_000))
        elif isinstance(step, Give):
            assert balance.holds_back_until > balance.due_at
            steps.append(step)
            own -= step.instances
        now = balance.due_at
    assert steps == [Give(MOST_AT_A_TIME, begins=number == 0) for number in range(len(steps))]


def test_no_worker_is_given_more_than_it_has_room_for() -> None:
    balance = Balance()
    assert balance.step(1_000, 0.0) == Ask(1)
    balance.hear("a", 1, Count(5, 3))
    assert balance.step(1_000, ANSWER_SECONDS) is None
    assert balance.step(1_000, balance.due_at) == Give(3, begins=True)


def test_what_is_given_away_and_nobody_takes_is_not_followed_by_more_for_a_while() -> None:
    workers = Workers(1_000, 0)
    workers.takes = False
    workers.pass_by(REST_SECONDS)
    assert workers.moves == MOST_IN_A_ROUND
    assert workers.balances[0].holds_back_until == 0
    workers.takes = True
    workers.pass_by(REST_SECONDS)
    assert workers.spread[0] > 300


def test_nothing_is_taken_over_from_the_decision_on_until_the_next_one() -> None:
    balance = Balance()
    balance.step(100, 0.0)
    balance.hear("a", 1, Count(0, 100))
    balance.step(100, ANSWER_SECONDS)
    assert balance.due_at == ANSWER_SECONDS + HOLD_BACK_SECONDS
    assert balance.step(100, balance.due_at) == Give(50, begins=True)
    assert balance.holds_back_until >= balance.due_at + ANSWER_SECONDS
    balance.step(50, balance.due_at)
    balance.hear("a", 2, Count(50, 50))
    balance.step(50, balance.due_at)
    assert balance.holds_back_until == 0


def test_a_worker_that_stops_is_given_nothing_and_waited_for_no_more() -> None:
    balance = Balance()
    balance.step(100, 0.0)
    balance.hear("a", 1, Count(0, 100))
    balance.step(100, ANSWER_SECONDS)
    balance.forget("a")
    assert balance.holds_back_until == 0
    assert balance.step(100, balance.due_at) == Ask(2)


def test_an_answer_to_an_earlier_question_says_nothing() -> None:
    balance = Balance()
    balance.step(LEAST_INSTANCES, 0.0)
    balance.step(LEAST_INSTANCES, ANSWER_SECONDS)
    balance.step(LEAST_INSTANCES, balance.due_at)
    balance.hear("a", 1, Count(0, 100))
    assert balance.step(LEAST_INSTANCES, balance.due_at) is None
    assert balance.holds_back_until == 0
