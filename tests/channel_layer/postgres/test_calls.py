"""What is asked of the database."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.delivery import LastWill
from channel_layer.postgres.calls import CHUNK

Ask = Callable[..., list[tuple]]


def test_one_of_many_sweeps(make_layer: MakeLayer) -> None:
    layers = [make_layer(), make_layer()]
    results = [layer._driver.run(layer._calls.sweep) for layer in layers]
    assert results == [0, None]


def test_what_has_expired_is_removed_and_its_space_is_used_again(make_layer: MakeLayer, schema: str, sql: Ask) -> None:
    layer = make_layer(expiry=0.01)
    sizes = []
    for _ in range(5):
        layer.send_batch([layer.prepare("bloat", {"data": "x" * 500}) for _ in range(500)])
        sql(f"UPDATE {schema}.moments SET at = 0 WHERE name = 'swept'")
        sql(f"UPDATE {schema}.frames SET expires = 0")
        assert layer._driver.run(layer._calls.sweep) == 500
        layer._driver.run(layer._calls.vacuum)
        sizes.append(sql("SELECT pg_relation_size(%s)", f"{schema}.frames")[0][0])
    assert sizes[-1] <= 2 * sizes[0] + 8192


@pytest.mark.parametrize("batch", [["a"], ["a", "a", "a"], ["a", "b", "a"]], ids=["one", "one channel", "several"])
def test_each_way_of_storing_keeps_to_the_capacity(make_layer: MakeLayer, batch: list[str]) -> None:
    layer = make_layer(capacity=3)
    layer.send_batch([layer.prepare("a", {"n": n}) for n in range(2)])
    items = [layer.prepare(name, {"n": n}) for n, name in enumerate(batch, 2)]
    room, expected = {"a": 1, "b": 3}, []
    for item in items:
        room[item.target] -= 1
        if room[item.target] < 0:
            expected.append(item)
    assert layer.send_batch(items) == expected
    assert layer.channel_statistics("a")["messages_pending"] == 3


def test_a_long_queue_is_not_counted_for_each_message(make_layer: MakeLayer, sql: Ask, schema: str) -> None:
    layer = make_layer(capacity=3200)
    layer.send("a", {"n": 0})
    sql(
        f"INSERT INTO {schema}.frames (channel, expires, control, data)"
        f" SELECT 'a', {schema}.clock() + 60, false, '' FROM generate_series(1, 3199)"
    )
    uncounted = [layer.send_batch([layer.prepare("a", {"n": n})]) for n in range(99)]
    assert uncounted == [[]] * 99  # a share of 3,199
    refused = layer.prepare("a", {"n": 100})
    assert layer.send_batch([refused]) == [refused]


def test_a_group_and_a_channel_share_the_room_of_a_reader_in_their_order(make_layer: MakeLayer) -> None:
    layer = make_layer(capacity=2)
    layer.receive(["me!"])
    layer.group_add("group", "me!a")
    first, group, last = (
        layer.prepare("me!a", {"n": 1}), layer.prepare("group", {"n": 2}, group=True), layer.prepare("me!a", {"n": 3})
    )  # fmt: skip
    assert layer.send_batch([first, group, last]) == [last]
    assert [item.message["n"] for item in layer.receive_batch(["me!"], limit=10)] == [1, 2]
    assert layer.counters.group_full == 0


def test_who_joins_and_leaves_in_many_processes_at_once_ends_as_the_last_said(make_layer: MakeLayer) -> None:
    """The record and what the process is told have to agree."""
    reader = make_layer()
    reader.receive(["me!"])
    others = [make_layer() for _ in range(4)]

    def change(layer: object, number: int) -> None:
        for n in range(25):
            (layer.group_add if (n + number) % 2 else layer.group_discard)("group", "me!a")  # type: ignore[attr-defined]

    threads = [threading.Thread(target=change, args=(layer, number)) for number, layer in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while reader.receive_batch(["me!"], limit=100):
        pass
    reader.receive(["me!"])
    recorded = reader.group_channels("group") == ["me!a"]
    assert bool(reader.index.members("me!", "group")) is recorded


def test_many_last_wills_are_carried_out_in_portions(make_layer: MakeLayer, sql: Ask, schema: str) -> None:
    gone, living = make_layer(), make_layer()
    gone.receive(["gone!"])
    wills = []
    for n in range(CHUNK + 10):
        item = gone.prepare("connected", {"n": n})
        item.last_will = LastWill(f"gone!{n}", gone.prepare("ended", {"n": n}))
        wills.append(item)
    assert gone.send_batch(wills) == []
    sql(f"UPDATE {schema}.wills SET made = 0")
    sql(f"UPDATE {schema}.readers SET seen = 0, doubted = {schema}.clock() - 15")
    living._carry_out_last_wills()
    ended = living.receive_batch(["ended"], limit=1000)
    assert [item.message["n"] for item in ended] == list(range(CHUNK + 10))
