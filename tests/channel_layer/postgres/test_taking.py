"""Taking messages off one of several channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.postgres.calls import TAKE
from channel_layer.postgres.layer import PostgresChannelLayer
from channel_layer.postgres.taking import Taking

Eventually = Callable[..., object]

NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def layer(make_layer: MakeLayer) -> PostgresChannelLayer:
    layer: PostgresChannelLayer = make_layer()  # type: ignore[assignment]
    layer._receiver.listen(layer._ear, NAMES)
    return layer


def take(layer: PostgresChannelLayer, limit: int = 10) -> list[int]:
    return [item.message["n"] for item in layer._take(layer._ear.fresh(NAMES), limit)]


def hears(layer: PostgresChannelLayer, name: str) -> bool:
    layer._receiver.hear()
    return list(layer._ear.fresh(NAMES)) == [name]


def test_channels_that_were_found_empty_are_not_looked_at_until_something_comes(
    layer: PostgresChannelLayer, eventually: Eventually
) -> None:
    assert take(layer) == []
    assert layer._ear.fresh(NAMES) == {}
    layer.send("c", {"n": 1})
    eventually(partial(hears, layer, "c"), "the notification")
    assert take(layer) == [1]
    assert layer._ear.fresh(NAMES) == {}


def test_a_channel_of_which_not_all_was_taken_stays_fresh(layer: PostgresChannelLayer, eventually: Eventually) -> None:
    take(layer)
    layer.send_batch([layer.prepare("b", {"n": n}) for n in range(5)])
    eventually(partial(hears, layer, "b"), "the notification")
    assert [take(layer, 2), take(layer, 2)] == [[0, 1], [2, 3]]
    assert list(layer._ear.fresh(NAMES)) == ["b"]
    assert take(layer, 2) == [4]
    assert layer._ear.fresh(NAMES) == {}


def test_each_of_several_channels_has_its_turn(layer: PostgresChannelLayer) -> None:
    first = set()
    for _ in range(60):
        layer.send_batch([layer.prepare(name, {"n": n}) for n, name in enumerate(NAMES)])
        rows = layer._receiver.run(Taking(layer._calls, layer._ear, dict.fromkeys(NAMES), 10).plan)
        first.add(layer._opened("x", rows)[0].message["n"])
        while take(layer):
            pass
    assert first == {0, 1, 2, 3}


def test_after_a_channel_that_others_are_taking_comes_the_next(
    layer: PostgresChannelLayer, make_layer: MakeLayer
) -> None:
    other = make_layer()
    layer.send_batch([layer.prepare("a", {"n": 1}), layer.prepare("b", {"n": 2})])
    connection = other._driver.connection
    with connection.transaction(force_rollback=True):
        assert len(connection.rows(other._calls._sql(TAKE, "a", 10))) == 1
        for _ in range(5):
            assert take(layer) in ([2], [])
            layer._ear.look()
        assert take(layer) == []
    layer._ear.look()
    assert take(layer) == [1]
