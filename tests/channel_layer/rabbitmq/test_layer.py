"""The rabbitmq layer on a real server: the public suite, and what is its own."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.exceptions import LayerConfigurationError
from channel_layer.rabbitmq import RabbitmqChannelLayer


class TestRabbitmq(ConformanceSuite):
    elsewhere = {"neighbour": "next:"}


@pytest.mark.usefixtures("only_durable")
class TestRabbitmqWithDurableQueues(TestRabbitmq):
    pass


@pytest.mark.parametrize(
    "url",
    [
        [], "", "localhost", "http://localhost", "amqp://", "amqp://host:port/", "amqp://user:5/secret@host/",
        "amqp://user:se[cret@host/", "amqp://user:se\u2100cret@host/", "amqp://host/?heartbeat=secret",
        "amqp://host/#secret", 7, [None],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_text(url: Any) -> None:
    with pytest.raises(LayerConfigurationError, match="url must") as caught:
        RabbitmqChannelLayer(url)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "options", [{"prefix": ""}, {"prefix": "a#"}, {"prefix": 7}, {"prefix": "p" * 41}, {"queue_type": "stream"}]
)
def test_options_that_cannot_work_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(LayerConfigurationError, match=next(iter(options))):
        RabbitmqChannelLayer("amqp://localhost/", **options)


def test_it_is_described_without_passwords() -> None:
    layer = RabbitmqChannelLayer(["amqp://user:secret@one/project", "amqps://user:secret@two/project"], prefix="p:")
    assert layer.describe() == "RabbitMQ at one:5672, two:5671, virtual host project, prefix p:"


def test_a_layer_in_which_a_receive_was_cancelled_can_be_closed(make_layer: MakeLayer) -> None:
    async def main() -> None:
        layer = make_layer()
        receiving = asyncio.ensure_future(layer.areceive_batch(["work"], timeout=60))
        await layer.asend("elsewhere", {"n": 1})
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await layer.aclose()

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == before


def test_a_layer_that_was_closed_leaves_nothing_behind(make_layer: MakeLayer) -> None:
    def used() -> None:
        layer = make_layer()
        layer.send("work", {"n": 1})
        layer.receive(["work"], block=True)
        layer.close()

    used()
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        used()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
