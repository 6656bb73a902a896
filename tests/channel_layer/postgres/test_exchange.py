"""Storing messages and taking others in one transaction."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TypeAlias

import pytest

from channel_layer.conformance import MakeLayer
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import LayerUnavailable
from channel_layer.postgres import PostgresChannelLayer, connections
from channel_layer.postgres.exchange import PostgresExchange

SendOther: TypeAlias = Callable[[int], None]
Told: TypeAlias = list[tuple[list[Outgoing], LayerUnavailable | None]]
CHANNELS = ["in", "in.other"]


@pytest.fixture
def layer(make_layer: MakeLayer) -> PostgresChannelLayer:
    """One that has found both channels empty, and need not count for some time what waits on ``out``."""
    layer: PostgresChannelLayer = make_layer(capacity=6400)  # type: ignore[assignment]
    layer.receive_batch(CHANNELS, timeout=0.05)
    layer.send("out", {"n": 0})
    layer.receive_batch(CHANNELS, timeout=0.05)
    return layer


@pytest.fixture
def statements(layer: PostgresChannelLayer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of those that are run by the connection which receives."""
    seen: list[str] = []
    statement = layer._schema.statement

    def note(text: str, *parameters: object) -> connections.Statement:
        seen.append(text)
        return statement(text, *parameters)

    monkeypatch.setattr(layer._calls, "_sql", note)
    return seen


@pytest.fixture
def other(layer: PostgresChannelLayer, make_layer: MakeLayer, eventually: Callable[..., object]) -> SendOther:
    """Sends so many messages to the first channel, and waits until that is known."""

    def hears() -> bool:
        layer._receiver.hear()
        return list(layer._ear.fresh(CHANNELS)) == ["in"]

    def send(count: int) -> None:
        make_layer().send_batch([layer.prepare("in", {"n": n}) for n in range(count)])
        eventually(hears, "the notification")

    return send


def exchange(layer: PostgresChannelLayer, told: Told, timeout: float = 0.0, count: int = 3) -> list[int]:
    made = layer.begin_exchange([layer.prepare("out", {"n": n}) for n in range(count)], CHANNELS, 10, timeout)
    assert isinstance(made, PostgresExchange)
    return [item.message["n"] for item in made.finish(lambda *outcome: told.append(outcome))]


def test_what_has_come_meanwhile_is_taken_by_the_statement_that_stores(
    layer: PostgresChannelLayer, statements: list[str], other: SendOther
) -> None:
    other(2)
    told: Told = []
    assert exchange(layer, told, timeout=5) == [0, 1]
    assert told == [([], None)]
    assert len(statements) == 1
    assert [item.message["n"] for item in layer.receive_batch(["out"], limit=10)] == [0, 0, 1, 2]


def test_nothing_is_looked_for_where_nothing_has_come(layer: PostgresChannelLayer, statements: list[str]) -> None:
    told: Told = []
    assert exchange(layer, told, timeout=0.05) == []
    assert told == [([], None)]
    assert len(statements) == 1


def test_both_fail_together_and_what_was_to_be_taken_counts_as_possibly_lost(
    layer: PostgresChannelLayer, other: SendOther, monkeypatch: pytest.MonkeyPatch
) -> None:
    other(1)
    monkeypatch.setattr(connections, "CALL_SECONDS", 0.3)
    pid = layer._receiver.connection.pgconn.backend_pid
    told: Told = []
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(LayerUnavailable) as caught:
            exchange(layer, told, timeout=5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert caught.value.uncertain
    assert told == [([], caught.value)]
    assert layer.counters.possible_losses == 1


def test_messages_that_have_to_be_counted_are_stored_by_themselves(
    layer: PostgresChannelLayer, other: SendOther
) -> None:
    other(1)
    items = [layer.prepare("uncounted", {"n": n}) for n in range(2)]
    told: Told = []
    made = layer.begin_exchange(items, CHANNELS, 10, 5)
    assert not isinstance(made, PostgresExchange)
    assert [item.message["n"] for item in made.finish(lambda *outcome: told.append(outcome))] == [0]
    assert told == [([], None)]
