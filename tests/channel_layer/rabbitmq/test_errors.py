"""Errors of pika and of the broker, in sentences that say what to do."""

from __future__ import annotations

import pytest
from pika import exceptions

from channel_layer.exceptions import LayerUnusable
from channel_layer.rabbitmq.errors import failed, not_connected
from channel_layer.rabbitmq.publisher import BrokerBlocked

WHERE = "one:5672, virtual host /"


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ProbableAuthenticationError("ACCESS_REFUSED - Login was refused"),
        exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - access to vhost '/' refused"),
        exceptions.AMQPConnectionError(exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED")),
    ],
)
def test_a_refusal_is_a_matter_of_configuration(error: Exception) -> None:
    found = not_connected(error, WHERE)
    assert isinstance(found, LayerUnusable)
    assert not found.uncertain
    assert "Check the user, the password and the virtual host in CONFIG (url)" in str(found)


def test_a_broker_that_is_away_is_waited_for() -> None:
    found = not_connected(exceptions.AMQPConnectionError(ConnectionRefusedError(111, "Connection refused")), WHERE)
    assert not isinstance(found, LayerUnusable)
    assert str(found) == f"channel layer at {WHERE} is unavailable: Connection refused"


@pytest.mark.parametrize("uncertain", [True, False])
def test_a_connection_that_broke_says_nothing_of_what_was_sent(uncertain: bool) -> None:
    found = failed(exceptions.StreamLostError("Stream connection lost"), WHERE, uncertain)
    assert found.uncertain is uncertain
    assert "Stream connection lost" in str(found)


def test_a_missing_right_is_named_and_nothing_has_happened() -> None:
    refusal = exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - access to queue 'x' refused for user 'y'")
    found = failed(refusal, WHERE)
    assert isinstance(found, LayerUnusable)
    assert not found.uncertain
    assert "access to queue 'x' refused for user 'y'. It needs to configure, write and read" in str(found)


def test_a_broker_without_memory_is_reachable() -> None:
    found = failed(BrokerBlocked("low on memory"), WHERE, uncertain=False)
    assert found.reachable
    assert "it takes no messages: low on memory" in str(found)


def test_a_broker_that_does_not_answer() -> None:
    assert "it does not answer in time" in str(failed(TimeoutError(), WHERE))
