"""Names and properties of queues."""

from __future__ import annotations

import pytest

from channel_layer.rabbitmq.schema import Schema


def test_every_kind_of_queue_has_a_name_of_its_own() -> None:
    schema = Schema("p:", expiry=60, presence=30, quorum=False)
    queues = [
        schema.main("a", 10), schema.main("a!", 10), schema.main("a?b", 10), schema.front("a"), schema.front("a!"),
        schema.roster("a"), schema.token("a!"), schema.grace("a!"), schema.wills("a!", "life"), schema.timers(5),
        schema.chores, schema.reports, schema.counts, schema.names,
    ]  # fmt: skip
    names = [queue.name for queue in queues]
    assert len(set(names)) == len(names)
    assert all(name.startswith("p:") for name in names)


@pytest.mark.parametrize("reader", ["plain", "process!", "single?x"])
def test_a_channel_refuses_what_is_over_its_capacity(reader: str) -> None:
    arguments = Schema("p:", 60, 30, False).main(reader, 7).arguments
    assert (arguments["x-max-length"], arguments["x-overflow"]) == (7, "reject-publish")


def test_only_ordinary_channels_are_replicated() -> None:
    schema = Schema("p:", 60, 30, True)
    replicated = [
        name for name in ("plain", "process!", "single?x") if schema.main(name, 1).arguments.get("x-queue-type")
    ]
    assert replicated == ["plain"]
    assert schema.main("plain", 1).durable
    assert not schema.main("process!", 1).durable


def test_queues_of_processes_go_when_these_are_gone() -> None:
    schema = Schema("p:", expiry=60, presence=30, quorum=False)
    assert schema.main("process!", 1).arguments["x-expires"] == 60_000
    assert schema.front("process!").arguments["x-expires"] == 60_000
    assert schema.main("plain", 1).arguments["x-expires"] == 86_400_000


def test_a_token_lies_nowhere_and_then_waits_before_it_is_a_chore() -> None:
    schema = Schema("p:", expiry=60, presence=30, quorum=False)
    held, grace = schema.token("process!").arguments, schema.grace("process!").arguments
    assert (held["x-message-ttl"], held["x-dead-letter-routing-key"]) == (0, schema.grace("process!").name)
    assert (grace["x-message-ttl"], grace["x-dead-letter-routing-key"]) == (25_000, schema.chores.name)
