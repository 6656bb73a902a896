"""`channels.test.running`: consumers run as by a worker, and tests hear of their errors."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import TestCase, override_settings

from channel_layer.exceptions import ChannelFull
from channel_layer.memory import MemoryChannelLayer
from channels import Channel, channel_layers, route
from channels.exceptions import ChannelSocketException, ConsumeLater, DenyConnection, WebsocketCloseException
from channels.sessions import channel_session
from channels.signals import consumer_finished, consumer_started
from channels.test import ChannelTestCase, Client, TransactionChannelTestCase, apply_routes
from channels.test.layers import in_memory


def echo(message: Any) -> str:
    message.reply_channel.send({"value": message["value"]})
    return "returned"


def consuming(consumer: Any, channel: str = "input") -> apply_routes:
    return apply_routes([route(channel, consumer)])


class SendingTests(ChannelTestCase):
    def test_sends_are_held_back_until_the_consumer_ends(self) -> None:
        seen = []

        def consumer(message: Any) -> None:
            Channel("later").send({})
            Channel("now").send({}, immediately=True)
            seen.extend([self.get_next_message("later"), self.get_next_message("now")])

        with consuming(consumer):
            Client().send_and_consume("input")
        assert seen[0] is None
        assert seen[1] is not None
        assert self.get_next_message("later") is not None

    def test_outside_of_consumers_they_go_at_once(self) -> None:
        Channel("output").send({})
        assert self.get_next_message("output") is not None

    def test_a_full_channel_is_an_error(self) -> None:
        layer = channel_layers["default"]
        layer.channel_layer.capacity = MemoryChannelLayer(capacity=1).capacity

        def consumer(message: Any) -> None:
            Channel("output").send({})
            Channel("output").send({})

        with consuming(consumer), pytest.raises(ChannelFull, match="output"):
            Client().send_and_consume("input")


class ErrorTests(ChannelTestCase):
    def test_an_error_reaches_the_test_and_what_was_queued_is_dropped(self) -> None:
        def consumer(message: Any) -> None:
            message.reply_channel.send({"value": 1})
            Channel("now").send({}, immediately=True)
            raise RuntimeError("broken")

        client = Client()
        with consuming(consumer), self.assertNoLogs("workers"), pytest.raises(RuntimeError, match="broken"):
            client.send_and_consume("input")
        assert client.receive() is None
        assert self.get_next_message("now") is not None

    def test_so_does_an_exit(self) -> None:
        def consumer(message: Any) -> None:
            raise SystemExit(3)

        with consuming(consumer), pytest.raises(SystemExit):
            Client().send_and_consume("input")

    def test_consume_later_puts_the_message_back_and_tells_the_test(self) -> None:
        def consumer(message: Any) -> None:
            message["tried"] = True
            message.reply_channel.send({})
            raise ConsumeLater

        client = Client()
        client.send("input", {"value": 1})
        client.send("input", {"value": 2})
        with consuming(consumer), pytest.raises(ConsumeLater):
            client.consume("input")
        assert client.receive() is None
        first, last = client.get_next_message("input"), client.get_next_message("input")
        assert first is not None
        assert first["value"] == 2
        assert last is not None
        assert last.content == {"value": 1, "tried": True, "reply_channel": client.reply_channel}

    def test_after_ten_tries_it_is_dropped(self) -> None:
        def consumer(message: Any) -> None:
            raise ConsumeLater

        client = Client()
        client.send("input")
        with consuming(consumer), self.assertLogs("workers", "WARNING") as logged:
            for _ in range(11):
                with pytest.raises(ConsumeLater):
                    client.consume("input")
            assert client.consume("input", fail_on_none=False) is None
        assert "dropped" in logged.output[0]

    def test_a_rejection_is_sent_and_tells_the_test(self) -> None:
        def consumer(message: Any) -> None:
            message.reply_channel.send({"text": "never seen"})
            raise DenyConnection

        client = Client()
        with consuming(consumer, "websocket.connect"), pytest.raises(DenyConnection):
            client.send_and_consume("websocket.connect")
        assert client.receive() == {"accept": False}
        assert client.receive() is None

    def test_a_rejection_of_something_else_is_an_error(self) -> None:
        def consumer(message: Any) -> None:
            raise DenyConnection

        with consuming(consumer), pytest.raises(ValueError, match=r"it can only reject a 'websocket\.connect'"):
            Client().send_and_consume("input")

    def test_a_close_is_sent_behind_what_was_queued(self) -> None:
        def consumer(message: Any) -> str:
            message.reply_channel.send({"text": "bye"})
            raise WebsocketCloseException(4000)

        client = Client()
        with consuming(consumer):
            assert client.send_and_consume("input") is None
        assert [client.receive(), client.receive(), client.receive()] == [{"text": "bye"}, {"close": 4000}, None]

    def test_an_exception_of_ones_own_is_run(self) -> None:
        class Apologise(ChannelSocketException):
            def run(self, message: Any) -> None:
                message.reply_channel.send({"text": "error"})

        def consumer(message: Any) -> None:
            raise Apologise

        client = Client()
        with consuming(consumer):
            client.send_and_consume("input")
        assert client.receive() == {"text": "error"}

    def test_an_error_in_its_run_reaches_the_test(self) -> None:
        class Broken(ChannelSocketException):
            def run(self, message: Any) -> None:
                raise RuntimeError("in run")

        def consumer(message: Any) -> None:
            message.reply_channel.send({"value": 1})
            raise Broken

        client = Client()
        with consuming(consumer), pytest.raises(RuntimeError, match="in run"):
            client.send_and_consume("input")
        assert client.receive() is None


class SignalTests(ChannelTestCase):
    def test_they_are_sent_around_the_consumer(self) -> None:
        order: list[Any] = []

        def started(sender: Any, **kwargs: Any) -> None:
            order.append(("started", sender, kwargs["message"].channel.name))

        def finished(sender: Any, **kwargs: Any) -> None:
            order.append(("finished", sender, kwargs["message"].channel.name))

        consumer_started.connect(started)
        consumer_finished.connect(finished)
        self.addCleanup(consumer_started.disconnect, started)
        self.addCleanup(consumer_finished.disconnect, finished)
        with consuming(lambda message: order.append("consumer")):
            Client().send_and_consume("input")
        assert order == [("started", Client, "input"), "consumer", ("finished", Client, "input")]

    def test_an_error_in_a_receiver_fails_the_test(self) -> None:
        def started(**kwargs: Any) -> None:
            raise RuntimeError("in a receiver")

        consumer_started.connect(started)
        self.addCleanup(consumer_started.disconnect, started)
        with consuming(echo), pytest.raises(RuntimeError, match="in a receiver"):
            Client().send_and_consume("input", {"value": 1})


class ConnectionTests(TransactionChannelTestCase):
    def test_the_database_connection_stays_open(self) -> None:
        connection.ensure_connection()
        connection.close_at = 0
        opened = connection.connection
        with consuming(echo):
            Client().send_and_consume("input", {"value": 1})
        assert connection.connection is opened

    def test_workers_still_look_after_theirs(self) -> None:
        with consuming(echo):
            Client().send_and_consume("input", {"value": 1})
        connection.ensure_connection()
        connection.close_at = 0
        consumer_finished.send(sender=Client)
        assert connection.connection is None


class AsyncTests(ChannelTestCase):
    def test_an_async_consumer_runs_with_the_data_of_the_test(self) -> None:
        from django.contrib.auth.models import User

        User.objects.create(username="ada")

        async def consumer(message: Any) -> int:
            message.reply_channel.send({"users": await User.objects.acount()})
            return 5

        client = Client()
        with consuming(consumer):
            assert client.send_and_consume("input") == 5
        assert client.receive() == {"users": 1}

    def test_its_errors_reach_the_test(self) -> None:
        async def consumer(message: Any) -> None:
            message.reply_channel.send({})
            raise WebsocketCloseException(4001)

        client = Client()
        with consuming(consumer):
            client.send_and_consume("input")
        assert [client.receive(), client.receive()] == [{}, {"close": 4001}]

    async def test_async_tests_await(self) -> None:
        from django.contrib.auth.models import User

        await User.objects.acreate(username="ada")

        def count(message: Any) -> int:
            return User.objects.count()

        async def acount(message: Any) -> int:
            return await User.objects.acount()

        client = Client()
        client.join_group("people")
        for consumer in (count, acount):
            with consuming(consumer):
                assert await client.asend_and_consume("input") == 1
                client.send("input")
                assert await client.aconsume("input") == 1


@channel_session
def counting(message: Any) -> int:
    message.channel_session["count"] = message.channel_session.get("count", 0) + 1
    return int(message.channel_session["count"])


class SessionTests(ChannelTestCase):
    def test_a_channel_session_lasts_from_message_to_message_of_one_client(self) -> None:
        client, other = Client(), Client()
        with consuming(counting):
            assert [client.send_and_consume("input") for _ in range(3)] == [1, 2, 3]
            assert other.send_and_consume("input") == 1
        assert client.receive() is None


@override_settings(INSTALLED_APPS=["channels"])
class SessionWithoutDjangosTests(TestCase):
    """Where Django's sessions are not installed the client carries the session, as a connection does."""

    def test_it_lasts_without_a_database(self) -> None:
        with in_memory(["default"]), consuming(counting), self.assertNumQueries(0):
            client, other = Client(), Client()
            assert [client.send_and_consume("input") for _ in range(3)] == [1, 2, 3]
            assert other.send_and_consume("input") == 1
            assert client.receive() is None

    def test_it_lasts_over_tries(self) -> None:
        @channel_session
        def consumer(message: Any) -> int:
            if counting(message) < 3:
                raise ConsumeLater
            return int(message.channel_session["count"])

        with in_memory(["default"]), consuming(consumer):
            client = Client()
            client.send("input")
            for _ in range(2):
                with pytest.raises(ConsumeLater):
                    client.consume("input")
            assert client.consume("input") == 3
