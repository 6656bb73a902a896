"""`channels.test.client`: sending, consuming, receiving."""

from __future__ import annotations

import re
from typing import Any

import pytest

from channels import Group, route
from channels.test import ChannelTestCase, Client, apply_routes


def echo(message: Any) -> str:
    message.reply_channel.send({"value": message["value"]})
    return "returned"


def consuming(consumer: Any, channel: str = "input") -> apply_routes:
    return apply_routes([route(channel, consumer)])


class ClientTests(ChannelTestCase):
    def test_a_message_goes_all_the_way_and_back(self) -> None:
        client = Client()
        with consuming(echo):
            assert client.send_and_consume("input", {"value": 33}) == "returned"
        assert client.receive() == {"value": 33}
        assert client.receive() is None

    def test_the_reply_channel_is_the_alias_and_five_letters(self) -> None:
        assert re.fullmatch("default[A-Za-z]{5}", Client().reply_channel)
        assert Client(alias="other").reply_channel.startswith("other")
        assert len({Client().reply_channel for _ in range(50)}) == 50

    def test_a_message_has_the_reply_channel_unless_it_brings_one(self) -> None:
        client = Client()
        client.send("input")
        client.send("input", {"reply_channel": "other"})
        for expected in (client.reply_channel, "other"):
            message = client.get_next_message("input")
            assert message is not None
            assert message.reply_channel is not None
            assert message.reply_channel.name == expected

    def test_the_content_given_is_not_changed(self) -> None:
        content: dict[str, Any] = {"deep": {"list": []}}
        Client().send("input", content)
        assert content == {"deep": {"list": []}}

    def test_content_that_is_no_dict_is_refused_with_a_sentence(self) -> None:
        with pytest.raises(TypeError, match="the content of a message is a dict, not str: '/new'"):
            Client().send("input", "/new")  # type: ignore[arg-type]

    def test_messages_are_consumed_one_at_a_time_in_order(self) -> None:
        client = Client()
        for value in range(3):
            client.send("input", {"value": value})
        with consuming(echo):
            client.consume("input")
            assert client.receive() == {"value": 0}
            assert client.receive() is None
            client.consume("input")
        assert client.receive() == {"value": 1}

    def test_without_a_message_it_fails_unless_told_not_to(self) -> None:
        with pytest.raises(AssertionError, match="No message for channel input"):
            Client().consume("input")
        assert Client().consume("input", fail_on_none=False) is None

    def test_without_a_route_it_fails_unless_told_not_to(self) -> None:
        with apply_routes([]):
            for channel in ("input", "http.request", "websocket.connect"):
                with pytest.raises(AssertionError, match="Can't find consumer for message"):
                    Client().send_and_consume(channel)
                assert Client().send_and_consume(channel, fail_on_none=False) is None

    def test_the_consumer_of_a_channel_is_the_routed_one(self) -> None:
        with consuming(echo):
            assert Client().get_consumer_by_channel("input") is echo
            assert Client().get_consumer_by_channel("websocket.connect") is None

    def test_a_group_reaches_its_members(self) -> None:
        client, stranger = Client(), Client()
        client.join_group("people")
        Group("people").send({"text": "hello"})
        assert client.receive() == {"text": "hello"}
        assert stranger.receive() is None

    def test_keyword_arguments_come_from_the_route(self) -> None:
        def consumer(message: Any, room: str) -> str:
            return room

        with apply_routes([route("input", consumer, path=r"^/(?P<room>\w+)/$")]):
            assert Client().send_and_consume("input", {"path": "/kitchen/"}) == "kitchen"
