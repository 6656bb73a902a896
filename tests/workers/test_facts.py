"""What a worker counts."""

from __future__ import annotations

import threading
from typing import Any

from channel_layer.facts import MOST_NAMES, OTHER
from workers.facts import LATEST_ERRORS, MOST_TRACEBACK, NO_CONSUMER, Facts


def consumer(message: Any) -> None:
    """One of two with this name."""


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, message: Any) -> None:
        """Nothing."""


def test_messages_are_counted_by_channel_and_by_consumer_with_their_outcome() -> None:
    facts = Facts()
    facts.ran("a", "ok", consumer, 0.002)
    facts.ran("a", "failed", consumer, 0.2)
    facts.ran("b", "ignored", None, 0.0)
    content = facts.content()
    assert content["messages"] == {"a": {"ok": 1, "failed": 1}, "b": {"ignored": 1}}
    name = f"{__name__}.consumer"
    assert {key: counted["outcomes"] for key, counted in content["consumers"].items()} == {
        name: {"ok": 1, "failed": 1},
        NO_CONSUMER: {"ignored": 1},
    }
    assert sum(content["consumers"][name]["seconds"]["counts"]) == 2


def test_consumers_of_one_name_are_counted_together_and_one_without_hash_is_counted() -> None:
    facts = Facts()
    for _ in range(3):
        facts.ran("a", "ok", Unhashable(), 0.0)
    [counted] = facts.content()["consumers"].values()
    assert counted["outcomes"] == {"ok": 3}


def test_however_many_consumers_there_are_a_report_has_a_bounded_number() -> None:
    facts = Facts()
    for number in range(MOST_NAMES * 2):
        made = type(f"Made{number}", (), {"__call__": consumer})
        facts.ran(f"channel-{number}", "ok", made, 0.0)
        facts.received(f"channel-{number}", [0.1])
    content = facts.content()
    for table in (content["consumers"], content["messages"], content["waited"]):
        assert MOST_NAMES - 1 <= len(table) <= MOST_NAMES + 1
        assert OTHER in table
    assert sum(sum(counted["outcomes"].values()) for counted in content["consumers"].values()) == MOST_NAMES * 2
    assert sum(sum(outcomes.values()) for outcomes in content["messages"].values()) == MOST_NAMES * 2


def test_threads_lose_no_count() -> None:
    facts = Facts()
    together = threading.Barrier(4)

    def count() -> None:
        together.wait(20)
        for _ in range(5_000):
            facts.ran("a", "ok", consumer, 0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    content = facts.content()
    assert content["messages"] == {"a": {"ok": 20_000}}
    assert sum(content["consumers"][f"{__name__}.consumer"]["seconds"]["counts"]) == 20_000


def test_the_last_errors_are_kept_with_the_end_of_their_traceback() -> None:
    facts = Facts()
    for number in range(LATEST_ERRORS + 2):
        try:
            raise ValueError(f"number {number} " + "x" * 10_000)
        except ValueError as error:
            facts.failed("a", "project.consumers.receive", error)
    content = facts.content()
    assert content["errors_count"] == {"ValueError": LATEST_ERRORS + 2}
    assert [entry["error"].split(" x")[0] for entry in content["errors"]] == [
        f"ValueError: number {number}" for number in range(2, LATEST_ERRORS + 2)
    ]
    assert all(len(entry["traceback"]) == MOST_TRACEBACK for entry in content["errors"])
