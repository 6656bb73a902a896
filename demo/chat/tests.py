"""Tests of the chat: ``python manage.py test demo``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import reverse

from channel_layer.delivery import Headers
from channel_layer.memory import MemoryChannelLayer
from channels import channel_layers
from channels.exceptions import DenyConnection
from channels.message import Message as ChannelMessage
from demo.chat import consumers
from demo.chat.models import NAME_LENGTH, SLUG_LENGTH, TEXT_LENGTH, Message, Room


class RoomTests(TestCase):
    def setUp(self) -> None:
        self.room = Room.objects.create(slug="kitchen")

    def say(self, text: str) -> Message:
        return Message.objects.create(room=self.room, name="Ada", text=text)

    def test_the_newest_messages_come_oldest_first(self) -> None:
        for number in range(5):
            self.say(str(number))
        self.assertEqual([message.text for message in self.room.newest(3)], ["2", "3", "4"])

    def test_the_newest_after_one_leave_that_one_out(self) -> None:
        seen = self.say("seen")
        self.say("missed")
        self.assertEqual([message.text for message in self.room.newest(50, after=seen.pk)], ["missed"])

    def test_rooms_where_somebody_spoke_lately_come_first(self) -> None:
        hall = Room.objects.create(slug="hall")
        Room.objects.create(slug="attic")
        self.say("first")
        Message.objects.create(room=hall, name="Bob", text="second")
        self.assertEqual([str(room) for room in Room.objects.lively()], ["hall", "kitchen", "attic"])


class PageTests(TestCase):
    def test_the_first_visit_makes_a_room_and_the_second_finds_it(self) -> None:
        for _ in range(2):
            self.assertContains(self.client.get("/chat/tea-house/"), "tea-house")
        self.assertEqual(Room.objects.count(), 1)

    def test_what_is_no_address_of_a_room_is_not_found(self) -> None:
        for address in ("Tea", "a_b", "-a", "a--b", "x" * (SLUG_LENGTH + 1)):
            self.assertEqual(self.client.get(f"/chat/{address}/").status_code, 404, address)
        self.assertEqual(Room.objects.count(), 0)

    def test_the_history_cannot_break_out_of_the_page(self) -> None:
        room = Room.objects.create(slug="tea-house")
        Message.objects.create(room=room, name="Ada", text="</script><b>bold</b>")
        response = self.client.get(room.get_absolute_url())
        self.assertNotContains(response, "<b>bold")
        self.assertContains(response, r"\u003Cb\u003Ebold")

    def test_the_form_leads_to_the_room_it_names(self) -> None:
        for typed, slug in {"Tea House": "tea-house", "a_b": "a-b", "  Café! ": "cafe", "x" * 99: "x" * 40}.items():
            response = self.client.get(reverse("rooms"), {"room": typed})
            self.assertRedirects(response, f"/chat/{slug}/", fetch_redirect_response=False)

    def test_a_name_without_letters_leads_back_to_the_form(self) -> None:
        self.assertRedirects(self.client.get(reverse("rooms"), {"room": "!?"}), "/#rooms")

    def test_the_start_page_lists_rooms(self) -> None:
        room = Room.objects.create(slug="tea-house")
        Message.objects.create(room=room, name="Ada", text="Hello")
        self.assertContains(self.client.get("/"), 'href="/chat/tea-house/"')
        self.assertContains(self.client.get("/"), "1 message\n")


class Visitor:
    """Somebody with the room's page open, as the consumers see them."""

    def __init__(self, layer: MemoryChannelLayer) -> None:
        self.layer = layer
        # A reader of its own for each: what comes before the "!" is read as one queue.
        self.reader = f"visitor-{uuid.uuid4().hex}!"
        self.reply_channel = layer.new_channel(self.reader)
        self.state: Mapping[str, bytes] | None = None

    def enter(self, slug: str, query: str = "", origin: str = "http://localhost:8000") -> None:
        headers = [[b"origin", origin.encode()]]
        content = {"query_string": query.encode(), "path": f"/chat/{slug}/", "headers": headers}
        self.run(consumers.connect, "websocket.connect", content, slug=slug)

    def send(self, **content: Any) -> None:
        self.run(consumers.receive, "websocket.receive", {"text": json.dumps(content)})

    def leave(self) -> None:
        self.run(consumers.disconnect, "websocket.disconnect", {})

    def run(self, consumer: Any, channel: str, content: dict[str, Any], **kwargs: str) -> None:
        headers: Headers = {"turn": 1}
        if self.state:
            headers["state"] = self.state
        message = ChannelMessage(content | {"reply_channel": self.reply_channel}, channel, self.layer, headers)
        consumer(message, **kwargs)
        self.state = message.state

    def hear(self) -> list[Any]:
        """What came for this visitor since the last call."""
        heard: list[Any] = []
        while True:
            channel, message = self.layer.receive([self.reader])
            if message is None:
                return heard
            assert channel == self.reply_channel
            heard.append(json.loads(message["text"]) if "text" in message else message)


@override_settings(ALLOWED_HOSTS=["localhost"])
class ConsumerTests(TestCase):
    def setUp(self) -> None:
        self.layer = MemoryChannelLayer()
        before = channel_layers.set("default", self.layer)
        self.addCleanup(channel_layers.set, "default", before)
        self.room = Room.objects.create(slug="kitchen")

    def visitor(self, query: str = "name=Ada") -> Visitor:
        visitor = Visitor(self.layer)
        visitor.enter("kitchen", query)
        visitor.hear()
        return visitor

    def test_a_visitor_is_let_in_and_told_who_is_here(self) -> None:
        visitor = Visitor(self.layer)
        visitor.enter("kitchen", "name=Ada")
        self.assertEqual(visitor.hear(), [{"accept": True}, {"here": 1}])

    def test_there_is_no_way_into_a_room_that_does_not_exist(self) -> None:
        with self.assertRaises(DenyConnection):
            Visitor(self.layer).enter("cellar")

    def test_a_page_of_another_site_is_not_let_in(self) -> None:
        with self.assertRaises(DenyConnection):
            Visitor(self.layer).enter("kitchen", origin="https://elsewhere.example")

    def test_what_is_said_is_kept_and_heard_by_everybody(self) -> None:
        ada, bob = self.visitor(), self.visitor("name=Bob")
        ada.hear()
        key = str(uuid.uuid4())
        ada.send(text=" Hello ", key=key)
        [message] = Message.objects.all()
        self.assertEqual((message.name, message.text, str(message.key)), ("Ada", "Hello", key))
        for visitor in (ada, bob):
            self.assertEqual(visitor.hear(), [{"messages": [message.as_dict()]}])

    def test_what_is_sent_again_is_confirmed_and_not_said_twice(self) -> None:
        ada, bob = self.visitor(), self.visitor("name=Bob")
        key = str(uuid.uuid4())
        for _ in range(2):
            ada.hear()
            bob.hear()
            ada.send(text="Hello", key=key)
        self.assertEqual([message["key"] for heard in ada.hear() for message in heard["messages"]], [key])
        self.assertEqual(bob.hear(), [])
        self.assertEqual(Message.objects.count(), 1)

    def test_who_comes_back_hears_what_was_missed(self) -> None:
        said = [Message.objects.create(room=self.room, name="Bob", text=str(number)) for number in range(120)]
        visitor = Visitor(self.layer)
        visitor.enter("kitchen", f"name=Ada&after={said[9].pk}")
        frames = [heard["messages"] for heard in visitor.hear() if "messages" in heard]
        self.assertEqual([len(frame) for frame in frames], [50, 50, 10])
        self.assertEqual([message["id"] for frame in frames for message in frame], [one.pk for one in said[10:]])

    def test_a_new_name_holds_from_then_on(self) -> None:
        ada = self.visitor()
        ada.send(name="  Countess\n of Lovelace ")
        ada.send(text="Hello", key=str(uuid.uuid4()))
        self.assertEqual(Message.objects.get().name, "Countess of Lovelace")

    def test_who_leaves_is_no_longer_counted(self) -> None:
        ada, bob = self.visitor(), self.visitor("name=Bob")
        ada.hear()
        bob.leave()
        self.assertEqual(ada.hear(), [{"here": 1}])

    def test_what_is_no_message_is_refused_with_a_sentence(self) -> None:
        ada = self.visitor()
        key = str(uuid.uuid4())
        for content in (
            {"text": "no key"},
            {"text": "bad key", "key": "1"},
            {"text": "  ", "key": key},
            {"text": "x" * (TEXT_LENGTH + 1), "key": key},
            {"text": "a\0b", "key": key},
            {"text": 5, "key": key},
        ):
            ada.send(**content)
            [heard] = ada.hear()
            self.assertIn("refused", heard, content)
        half = json.dumps({"text": "half a pair: \ud800", "key": key})
        texts = ("not JSON", "[1]", "null", half, '{"name": "\\ud800"}', "[" * 100_000)
        frames: list[dict[str, Any]] = [{"bytes": b"\xff"}, *({"text": text} for text in texts)]
        for frame in frames:
            ada.run(consumers.receive, "websocket.receive", frame)
            [heard] = ada.hear()
            self.assertIn("refused", heard, frame)
        self.assertEqual(Message.objects.count(), 0)


class CleaningTests(SimpleTestCase):
    def test_a_name_is_one_line_of_bounded_length(self) -> None:
        self.assertEqual(consumers.clean_name(" a \n \0b "), "a b")
        self.assertEqual(consumers.clean_name("x" * 100), "x" * NAME_LENGTH)
        nothings: list[Any] = [None, "", "  ", []]
        for nothing in nothings:
            self.assertEqual(consumers.clean_name(nothing), "Somebody")

    def test_only_a_number_is_an_id(self) -> None:
        self.assertEqual(consumers.clean_id("12"), 12)
        for nonsense in (None, "", "-1", "1.5", "x", "9" * 30):
            self.assertEqual(consumers.clean_id(nonsense), 0)
