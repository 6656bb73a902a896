"""`channels.consumer`: what a consumer is fed from, and in which order."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from channels.consumer import AsyncConsumer, SyncConsumer, get_handler_name
from channels.exceptions import StopConsumer

from .coroutines import Client, LoopLayer, drive

STOP = {"type": "test.stop"}


class Recorder(AsyncConsumer):
    """Notes its events."""

    def __init__(self, seen: list[Any] | None = None) -> None:
        self.seen: list[Any] = [] if seen is None else seen

    async def test_event(self, event: dict[str, Any]) -> None:
        self.seen.append(event["number"])

    async def test_stop(self, event: dict[str, Any]) -> None:
        raise StopConsumer


def numbered(number: int) -> dict[str, Any]:
    return {"type": "test.event", "number": number}


@pytest.mark.parametrize(("kind", "name"), [("chat", "chat"), ("chat.message", "chat_message"), ("a.b.c", "a_b_c")])
def test_a_handler_is_named_after_the_type(kind: str, name: str) -> None:
    assert get_handler_name({"type": kind}) == name


@pytest.mark.parametrize("kind", ["_private", ".private", "__init__"])
def test_a_private_method_is_no_handler(kind: str) -> None:
    with pytest.raises(ValueError, match="leading underscore"):
        get_handler_name({"type": kind})


def test_an_event_has_a_type() -> None:
    with pytest.raises(ValueError, match="no 'type' attribute"):
        get_handler_name({"text": "hello"})


@pytest.mark.usefixtures("no_layer")
class TestWithoutALayer:
    def test_events_are_handled_until_a_handler_stops(self) -> None:
        recorder = Recorder()
        drive(recorder, numbered(1), numbered(2), STOP, numbered(3))
        assert recorder.seen == [1, 2]

    def test_there_is_no_channel(self) -> None:
        recorder = Recorder()
        drive(recorder, STOP)
        assert recorder.channel_layer is None
        assert not hasattr(recorder, "channel_name")

    def test_an_unknown_type_ends_the_instance_and_names_the_class(self) -> None:
        with pytest.raises(ValueError, match=r"No handler for message type test\.unknown in .*Recorder"):
            drive(Recorder(), {"type": "test.unknown"})

    def test_what_a_handler_raises_reaches_the_server(self) -> None:
        class Failing(Recorder):
            async def test_event(self, event: dict[str, Any]) -> None:
                raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            drive(Failing(), numbered(1))

    def test_events_can_be_sent(self) -> None:
        class Answering(Recorder):
            async def test_event(self, event: dict[str, Any]) -> None:
                await self.send({"type": "test.answer"})

        assert drive(Answering(), numbered(1), STOP) == [{"type": "test.answer"}]

    def test_each_scope_has_an_instance_made_with_the_arguments(self) -> None:
        instances: list[AsyncConsumer] = []

        class Counted(Recorder):
            async def test_event(self, event: dict[str, Any]) -> None:
                await super().test_event(event)
                instances.append(self)

        seen: list[Any] = []
        application = Counted.as_asgi(seen=seen)
        drive(application, numbered(1), STOP)
        drive(application, numbered(2), STOP)
        assert seen == [1, 2]
        assert instances[0] is not instances[1]

    def test_the_application_says_what_it_is_made_of(self) -> None:
        application: Any = Recorder.as_asgi(seen=[])
        assert application.consumer_class is Recorder
        assert application.consumer_initkwargs == {"seen": []}
        assert (application.__name__, application.__doc__) == ("Recorder", "Notes its events.")


class TestWithALayer:
    def test_messages_on_its_channel_are_handled_too(self, loop_layer: LoopLayer) -> None:
        class Chatting(Recorder):
            async def test_event(self, event: dict[str, Any]) -> None:
                await self.channel_layer.send(self.channel_name, {"type": "chat.message", "text": "hello"})

            async def chat_message(self, event: dict[str, Any]) -> None:
                await self.send({"type": "test.answer", "text": event["text"]})
                raise StopConsumer

        assert drive(Chatting(), numbered(1)) == [{"type": "test.answer", "text": "hello"}]

    @pytest.fixture
    def waiting(self, loop_layer: LoopLayer) -> None:
        """Two messages on the channel that the consumer will have."""
        for number in (11, 12):
            loop_layer.queues["specific.!1"].put_nowait(numbered(number))

    def test_the_client_goes_first_and_both_take_turns(self, waiting: None) -> None:
        class Four(Recorder):
            async def test_event(self, event: dict[str, Any]) -> None:
                await super().test_event(event)
                if len(self.seen) == 4:
                    raise StopConsumer

        four = Four()
        drive(four, numbered(1), numbered(2))
        assert four.seen == [1, 11, 2, 12]

    def test_one_handler_runs_at_a_time(self, waiting: None) -> None:
        class Slow(Recorder):
            running = 0

            async def test_event(self, event: dict[str, Any]) -> None:
                self.running += 1
                for _ in range(5):
                    await asyncio.sleep(0)
                self.seen.append(self.running)
                self.running -= 1
                if len(self.seen) == 4:
                    raise StopConsumer

        slow = Slow()
        drive(slow, numbered(1), numbered(2))
        assert slow.seen == [1, 1, 1, 1]

    def test_no_source_is_read_any_more_when_it_has_ended(self, loop_layer: LoopLayer) -> None:
        async def run() -> int:
            client = Client(STOP)
            await Recorder()({}, client.receive, client.send)
            await loop_layer.send("specific.!1", numbered(1))
            await asyncio.sleep(0)
            return loop_layer.queues["specific.!1"].qsize()

        assert asyncio.run(run()) == 1

    def test_the_layer_is_that_of_the_alias(self, loop_layer: LoopLayer) -> None:
        class Elsewhere(Recorder):
            channel_layer_alias = "other"

        elsewhere, here = Elsewhere(), Recorder()
        drive(elsewhere, STOP)
        drive(here, STOP)
        assert (elsewhere.channel_layer, here.channel_layer) == (None, loop_layer)


class TestSync:
    def test_handlers_run_in_a_thread_and_send_from_it(self, no_layer: None) -> None:
        threads: list[int] = []

        class Answering(SyncConsumer):
            def test_event(self, event: dict[str, Any]) -> None:
                threads.append(threading.get_ident())
                self.send({"type": "test.answer", "number": event["number"]})

            def test_stop(self, event: dict[str, Any]) -> None:
                raise StopConsumer

        answers = drive(Answering.as_asgi(), numbered(1), numbered(2), STOP)
        assert [answer["number"] for answer in answers] == [1, 2]
        assert threading.get_ident() not in threads

    def test_an_unknown_type_ends_the_instance(self, no_layer: None) -> None:
        with pytest.raises(ValueError, match=r"No handler for message type test\.unknown"):
            drive(SyncConsumer(), {"type": "test.unknown"})


class TestUnderALease:
    """A worker holds the instance: all events come from `receive`."""

    def lease(self, **more: Any) -> dict[str, Any]:
        return {"millrace.lease": SimpleNamespace(channel_name="daphne.abc!1", **more)}

    def test_the_name_is_the_connections(self, loop_layer: LoopLayer) -> None:
        recorder = Recorder()
        drive(recorder, STOP, extensions=self.lease())
        assert (recorder.channel_name, recorder.channel_layer) == ("daphne.abc!1", loop_layer)
        assert loop_layer.named == 0

    def test_events_of_both_kinds_come_in_the_order_of_receive(self, loop_layer: LoopLayer) -> None:
        recorder = Recorder()
        drive(recorder, numbered(1), numbered(2), numbered(3), STOP, extensions=self.lease())
        assert recorder.seen == [1, 2, 3]
        assert "daphne.abc!1" not in loop_layer.queues

    def test_sync_consumers_too(self, loop_layer: LoopLayer) -> None:
        class Answering(SyncConsumer):
            def test_event(self, event: dict[str, Any]) -> None:
                self.send({"type": "test.answer", "name": self.channel_name})
                raise StopConsumer

        sent = drive(Answering(), numbered(1), extensions=self.lease())
        assert sent == [{"type": "test.answer", "name": "daphne.abc!1"}]

    @pytest.mark.parametrize("answer", [None, True])
    def test_the_lease_is_given_the_instance_before_its_first_event(self, loop_layer: LoopLayer, answer: Any) -> None:
        attached: list[set[str]] = []

        def attach(consumer: Recorder) -> Any:
            attached.append({*vars(consumer)})
            assert consumer.seen == []
            consumer.seen.append("restored")
            return answer

        recorder = Recorder()
        drive(recorder, numbered(1), STOP, extensions=self.lease(attach=attach))
        assert attached == [{"seen", "scope", "channel_layer", "channel_name", "channel_receive", "base_send"}]
        assert recorder.seen == ["restored", 1]
