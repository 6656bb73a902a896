"""`channels.message`: the name under which applications import `Message`; its own tests are the ground floor's."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest

import channel_layer.channel
from channel_layer.channel import Channel, Group
from channel_layer.exceptions import ChannelFull
from channel_layer.memory import MemoryChannelLayer
from channels.message import Message, PendingMessageStore, pending_message_store
from routing import Router, route
from tests.conftest import wait_until
from tests.fixtures.outboxes import collecting

from ..workers.tools import working


def test_it_is_the_message_that_consumers_get() -> None:
    assert Message is channel_layer.channel.Message


def test_it_is_made_as_applications_made_it_for_their_tests(layer: Any) -> None:
    message = Message({"reply_channel": "a!b", "text": "x"}, "websocket.receive", layer)
    assert (message.channel.name, message["text"], message.channel_layer) == ("websocket.receive", "x", layer)
    assert message.reply_channel is not None
    message.reply_channel.send({"text": "y"})
    assert layer.receive(["a!"]) == ("a!b", {"text": "y"})
    assert Message({}, "x", layer).reply_channel is None


class TestAnAttributeThatADecoratorGives:
    @pytest.mark.parametrize(
        ("name", "decorators"),
        [
            ("user", ["channel_session_user", "http_session_user"]),
            ("channel_session", ["channel_session"]),
            ("http_session", ["http_session"]),
        ],
    )
    def test_without_it_the_error_names_the_decorators_where_they_are(
        self, layer: Any, name: str, decorators: list[str]
    ) -> None:
        with pytest.raises(AttributeError) as caught:
            getattr(Message({}, "x", layer), name)
        text = str(caught.value)
        assert text.startswith(f"the message has no attribute {name!r}: decorate the consumer with @")
        module = import_module(text.rpartition("of ")[2])
        assert re.findall(r"@(\w+)", text) == decorators
        assert all(callable(getattr(module, decorator)) for decorator in decorators)

    def test_the_log_of_a_worker_says_it_once(self, layer: Any, caplog: pytest.LogCaptureFixture) -> None:
        def consumer(message: Any) -> None:
            message.reply_channel.send({"text": message.user.username})

        with working(layer, Router([route("x", consumer)]), threads=1):
            layer.send("x", {"reply_channel": "answers"})
            wait_until(lambda: caplog.records, "the error in the log")
        [record] = caplog.records
        assert record.exc_info is not None
        assert caplog.text.count("decorate the consumer with @channel_session_user or @http_session_user") == 1

    def test_another_attribute_is_an_ordinary_error(self, layer: Any) -> None:
        with pytest.raises(AttributeError, match=r"^the message has no attribute 'nosuch'$"):
            _ = Message({}, "x", layer).nosuch  # type: ignore[attr-defined]


class TestPendingMessageStore:
    def test_what_is_sent_is_held_back_until_it_is_flushed(self, layer: Any) -> None:
        layer.group_add("g", "b")
        assert not pending_message_store.active
        pending_message_store.prepare()
        assert pending_message_store.active
        Channel("a", channel_layer=layer).send({"n": 1})
        pending_message_store.append(Channel("a", channel_layer=layer), {"n": 2})
        pending_message_store.append(Group("g", channel_layer=layer), {"n": 3})
        assert layer.receive(["a", "b"]) == (None, None)
        pending_message_store.send_and_flush()
        assert not pending_message_store.active
        assert [layer.receive(["a"]) for _ in range(3)] == [("a", {"n": 1}), ("a", {"n": 2}), (None, None)]
        assert layer.receive(["b"]) == ("b", {"n": 3})

    def test_in_a_consumer_it_holds_what_the_consumer_sent(self, layer: Any) -> None:
        with collecting([]) as outbox:
            assert pending_message_store.active
            pending_message_store.append(Channel("a", channel_layer=layer), {"n": 1})
            pending_message_store.prepare()
            pending_message_store.append(Channel("a", channel_layer=layer), {"n": 2})
            pending_message_store.send_and_flush()
            assert pending_message_store.active
            pending_message_store.append(Channel("a", channel_layer=layer), {"n": 3})
        assert layer.receive(["a"]) == ("a", {"n": 2})
        assert len(outbox) == 1

    def test_flushing_nothing_does_nothing(self) -> None:
        pending_message_store.send_and_flush()
        assert not pending_message_store.active

    def test_a_channel_that_stays_full_is_an_error(self) -> None:
        class Impatient(PendingMessageStore):
            retry_time = 0.02
            retry_interval = 0.01

        store, full = Impatient(), MemoryChannelLayer(capacity=1)
        store.prepare()
        for number in range(2):
            Channel("a", channel_layer=full).send({"n": number})
        with pytest.raises(ChannelFull, match="'a'"):
            store.send_and_flush()
        assert full.receive(["a"]) == ("a", {"n": 0})
        assert not store.active
