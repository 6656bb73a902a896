from __future__ import annotations

import pytest
import redis

from channel_layer.delivery import Outgoing
from channel_layer.redis.scripts import LARGE_BYTES

from .test_plan import item, planner


def test_refusals_are_the_last_of_each_queue() -> None:
    items = [item("small"), item("d!1"), item("small"), item("small")]
    plan = planner().send(items)
    assert plan.read(0, [[2, 0]]).refused == items[2:]
    assert plan.read(0, [None]).refused == []


def test_full_group_readers_are_counted() -> None:
    assert planner().send([item("everyone", group=True)]).read(0, [3]).group_full == 3


OOM = redis.exceptions.OutOfMemoryError("command not allowed")
ODD = redis.ResponseError("something odd")


def test_an_error_of_one_command_concerns_what_that_command_carries_and_no_more() -> None:
    small, group, direct = items = [item("small"), item("everyone", group=True), item("d!1")]
    plan = planner().send(items)
    answers = plan.read(0, [[1], OOM, None])
    assert (answers.refused, answers.unsent, answers.unknown, answers.error) == ([small], [group], [], OOM)
    answers = plan.read(0, [ODD, 0, OOM])
    assert (answers.refused, answers.unsent, answers.unknown, answers.error) == ([], [direct], [small], ODD)


@pytest.mark.parametrize(
    ("replies", "unsent", "unknown"),
    [
        ([b"OK", b"QUEUED", b"QUEUED", [1, None]], False, False),
        ([b"OK", OOM, OOM, redis.exceptions.ExecAbortError("discarded")], True, False),
        ([b"OK", b"QUEUED", b"QUEUED", [ODD, ODD]], False, True),
        ([b"OK", b"QUEUED", b"QUEUED", [1, ODD]], False, False),
        ([b"OK", b"QUEUED", b"QUEUED", ODD], False, True),
    ],
    ids=["stored", "refused", "push failed", "only the book-keeping failed", "transaction failed"],
)
def test_a_large_message_is_as_stored_as_its_transaction_says(
    replies: list[object], unsent: bool, unknown: bool
) -> None:
    large = Outgoing("small", b"x" * LARGE_BYTES)
    answers = planner().send([large]).read(0, replies)
    assert (answers.unsent, answers.unknown) == ([large] * unsent, [large] * unknown)
