"""Tests of the whiteboard: ``python manage.py test demo``."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.test import TestCase, TransactionTestCase, override_settings

from channels.testing import WebsocketCommunicator
from demo.asgi import application
from demo.whiteboard import models
from demo.whiteboard.consumers import ACTS, BoardConsumer
from demo.whiteboard.models import Board, Stroke

LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
SECONDS = 10


def stroke(key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "color": "blue", "width": 14, "points": [1, 2, 3, 4], **changes}


class BoardTests(TestCase):
    def setUp(self) -> None:
        self.board = Board.objects.create(slug="mill")

    def seen(self) -> list[int]:
        return [one["id"] for one in self.board.whole()["drawn"]]

    def test_each_change_has_the_next_version(self) -> None:
        one, first = self.board.keep(stroke("a"))
        two, second = self.board.keep(stroke("b"))
        hidden, shown = self.board.show(one, False), self.board.show(one, True)
        assert hidden is not None
        assert shown is not None
        self.assertEqual([change["version"] for change in (first, second, hidden, shown)], [1, 2, 3, 4])
        self.assertEqual((hidden["gone"], hidden["drawn"]), ([one], []))
        self.assertEqual(shown["drawn"], first["drawn"])
        self.assertEqual(self.seen(), [one, two])
        self.assertEqual(self.board.clear()["gone"], [one, two])
        self.assertEqual(self.board.whole(), {"version": 5, "drawn": [], "gone": []})

    def test_a_stroke_that_is_sent_again_replaces_itself(self) -> None:
        one, _ = self.board.keep(stroke("a"))
        again, change = self.board.keep(stroke("a", points=[1, 2, 3, 4, 5, 6]))
        self.assertEqual((again, change["drawn"][0]["points"]), (one, [1, 2, 3, 4, 5, 6]))
        self.assertEqual(self.seen(), [one])

    def test_the_oldest_strokes_make_room(self) -> None:
        with mock.patch.object(models, "STROKES_KEPT", 3):
            ids, changes = zip(*(self.board.keep(stroke(str(number))) for number in range(5)), strict=True)
        self.assertEqual([change["gone"] for change in changes], [[], [], [], [ids[0]], [ids[1]]])
        self.assertEqual(self.seen(), list(ids[2:]))

    def test_what_is_not_kept_any_more_changes_nothing(self) -> None:
        one, _ = self.board.keep(stroke("a"))
        Stroke.objects.all().delete()
        self.assertIsNone(self.board.show(one, True))
        self.assertEqual(self.board.whole()["version"], 1)


class PageTests(TestCase):
    def test_the_first_visit_makes_a_board(self) -> None:
        self.assertRedirects(self.client.get("/whiteboard/"), "/whiteboard/mill/")
        self.assertEqual(Board.objects.get().slug, "mill")
        self.client.get("/whiteboard/mill/")
        self.assertEqual(Board.objects.count(), 1)

    def test_a_name_that_is_too_long_is_no_board(self) -> None:
        self.assertEqual(self.client.get(f"/whiteboard/{'a' * 41}/").status_code, 404)

    def test_the_start_page_leads_to_it_and_shows_what_is_on_it(self) -> None:
        self.assertContains(self.client.get("/"), 'href="/whiteboard/mill/"')
        self.assertEqual(self.client.get("/whiteboard/mill/strokes/").json(), {"drawn": []})
        Board.objects.create(slug="mill").keep(stroke("a"))
        [shown] = self.client.get("/whiteboard/mill/strokes/").json()["drawn"]
        self.assertEqual((shown["color"], shown["points"]), ("blue", [1, 2, 3, 4]))

    @override_settings(DEBUG=True, DEMO_CONTROL="/somewhere")
    def test_the_button_is_there_for_whom_it_would_obey(self) -> None:
        self.assertContains(self.client.get("/whiteboard/mill/"), "/processes/worker/restart/")
        self.assertNotContains(self.client.get("/whiteboard/mill/", REMOTE_ADDR="192.0.2.7"), "/restart/")


class Player:
    """A page at a board, with what it heard."""

    def __init__(self, cookies: str = "", slug: str = "mill", origin: str = "http://testserver") -> None:
        headers = [(b"origin", origin.encode()), (b"cookie", cookies.encode())]
        self.client = WebsocketCommunicator(application, f"/whiteboard/{slug}/", headers)
        self.number = 0

    async def open(self) -> bool:
        return (await self.client.connect(SECONDS))[0]

    async def hear(self, kind: str) -> Any:
        """The next message of a kind, past all others."""
        while (message := await self.client.receive_json_from(SECONDS))["type"] != kind:
            pass
        return message

    async def say(self, kind: str, **content: Any) -> dict[str, Any]:
        """Send a message; the result is what was said last before the answer to it."""
        self.number += 1
        await self.client.send_json_to({"type": kind, "n": self.number, **content})
        last: dict[str, Any] = {}
        while (message := await self.client.receive_json_from(SECONDS))["type"] != "done":
            last = message
        assert message == {"type": "done", "n": self.number, "worker": os.getpid()}, message
        return last

    async def draw(self, key: str) -> int:
        """Draw a stroke; the result is its id."""
        await self.say("draw", key=key, points=[10, 10, 20, 20])
        await self.say("end", key=key)
        return (await Stroke.objects.aget(key=key)).pk


@override_settings(CHANNEL_LAYERS=LAYERS)
class ConsumerTests(TransactionTestCase):
    def setUp(self) -> None:
        Board.objects.create(slug="mill")

    async def come(self, cookies: str = "") -> Player:
        player = Player(cookies)
        self.assertTrue(await player.open())
        self.assertEqual((await player.hear("board"))["gone"], [])
        return player

    async def leave(self, *players: Player) -> None:
        for player in players:
            await player.client.disconnect(timeout=SECONDS)

    async def test_who_comes_later_sees_the_board(self) -> None:
        ada = await self.come()
        drawn = await ada.draw("a")
        bob = Player()
        await bob.open()
        board = await bob.hear("board")
        self.assertEqual((board["version"], [one["id"] for one in board["drawn"]]), (1, [drawn]))
        await self.leave(ada, bob)

    async def test_two_get_to_know_each_other_and_see_each_other_go(self) -> None:
        ada = await self.come()
        about_ada = await ada.hear("self")
        bob = await self.come()
        about_bob = await bob.hear("self")
        for one, other in ((ada, about_bob), (bob, about_ada)):
            known = await one.hear("player")
            self.assertEqual(known["player"], other["player"])
            self.assertEqual((known["name"], known["color"]), (other["name"], other["color"]))
        await ada.say("name", name="  Ada   Lovelace ")
        self.assertEqual((await bob.hear("player"))["name"], "Ada Lovelace")
        await ada.say("pen", color="red", width=32)
        self.assertEqual((await bob.hear("player"))["color"], "red")
        await self.leave(ada)
        self.assertEqual((await bob.hear("left"))["player"], about_ada["player"])
        await self.leave(bob)

    async def test_a_stroke_is_seen_while_it_is_drawn_and_kept_when_it_ends(self) -> None:
        ada, bob = await self.come(), await self.come()
        await ada.say("pen", color="green", width=6)
        await ada.say("draw", key="k", points=[1, 1, 5, 5])
        await ada.say("draw", key="k", points=[9, 9999])
        for points in ([1, 1, 5, 5], [9, 1200]):
            self.assertEqual((await bob.hear("drew"))["stroke"], stroke("k", color="green", width=6, points=points))
        await ada.say("end", key="k")
        for player in (ada, bob):
            [kept] = (await player.hear("change"))["drawn"]
            self.assertEqual(kept, stroke("k", id=kept["id"], color="green", width=6, points=[1, 1, 5, 5, 9, 1200]))
        await ada.say("point", points=[7, 8])
        self.assertEqual((await bob.hear("pointed"))["at"], [7, 8])
        await self.leave(ada, bob)

    async def test_undo_and_redo_are_of_own_strokes_and_a_new_stroke_ends_redo(self) -> None:
        ada, bob = await self.come(), await self.come()
        one, two = await ada.draw("1"), await ada.draw("2")
        other = await bob.draw("3")
        await ada.say("undo")
        await ada.say("undo")
        await ada.say("undo")  # there is nothing left, and Bob's stays
        self.assertEqual([one["id"] for one in (await self.whole())["drawn"]], [other])
        about = await ada.say("redo")
        self.assertEqual((about["undoable"], about["redoable"], about["drawn"]), (1, 1, 2))
        self.assertEqual([one["id"] for one in (await self.whole())["drawn"]], [one, other])
        self.assertLess(one, two)
        await ada.draw("4")
        self.assertEqual((await ada.say("undo"))["redoable"], 1)
        await self.leave(ada, bob)

    async def whole(self) -> dict[str, Any]:
        board = await Board.objects.aget()
        strokes = [one.as_dict() async for one in board.visible()]
        return {"version": board.version, "drawn": strokes}

    async def test_undo_passes_over_what_was_wiped(self) -> None:
        ada, bob = await self.come(), await self.come()
        await ada.draw("1")
        await bob.say("clear")
        kept = await ada.draw("2")
        await ada.say("undo")
        about = await ada.say("undo")
        self.assertEqual((about["undoable"], about["redoable"]), (0, 1))
        await ada.say("redo")
        self.assertEqual([one["id"] for one in (await self.whole())["drawn"]], [kept])
        await self.leave(ada, bob)

    async def test_a_stroke_can_be_sent_as_a_whole_and_counts_once(self) -> None:
        ada = await self.come()
        await ada.say("stroke", **stroke("a"))
        self.assertEqual((await ada.say("stroke", **stroke("a", points=[1, 2])))["drawn"], 1)
        self.assertEqual([one["points"] for one in (await self.whole())["drawn"]], [[1, 2]])
        await self.leave(ada)

    async def test_in_another_process_it_goes_on_and_counts_the_move(self) -> None:
        ada = await self.come()
        await ada.say("draw", key="k", points=[1, 1])
        before = os.getpid()
        with mock.patch.object(os, "getpid", return_value=before + 1):
            about = await ada.say("draw", key="k", points=[5, 5])
            self.assertEqual((about["worker"], about["moves"]), (before + 1, 1))
            await ada.say("end", key="k")
            [kept] = (await self.whole())["drawn"]
        self.assertEqual(kept["points"], [1, 1, 5, 5])
        await self.leave(ada)

    async def test_bad_messages_are_refused_in_a_sentence_and_change_nothing(self) -> None:
        ada = await self.come()
        for text in ("{", "7", "[]", "{}", '{"type": "draw"}', '{"type": "fly", "n": 1}', '{"type": [], "n": 1}'):
            await ada.client.send_to(text_data=text)
            self.assertIn("Send", (await ada.hear("refused"))["reason"], text)
        for frame in (
            {"text_data": "[" * 100_000},
            {"text_data": '{"type": "ask", "n": 1e400}'},
            {"text_data": r'{"type": "ask", "n": 1, "key": "\ud800"}'},
            {"bytes_data": b"ask"},
        ):
            await ada.client.send_to(**frame)
            self.assertIn("Send", (await ada.hear("refused"))["reason"])
        bad: list[tuple[str, dict[str, Any]]] = [
            *(("draw", {"key": key, "points": [1, 1]}) for key in ("", "k" * 37, "a b", 1, None)),
            *(
                ("draw", {"key": "k", "points": points})
                for points in ([], [1], "12", None, [1, "2"], [1, 2.5], [True, 1])
            ),
            ("draw", {"key": "k", "points": [1, 1] * 257}),
            ("end", {"key": "k"}),
            *(("pen", pen) for pen in ({}, {"color": "pink", "width": 6}, {"color": "red", "width": 7})),
            ("pen", {"color": ["red"], "width": 6}),
            ("stroke", stroke("k", color="pink")),
            *(("name", {"name": name}) for name in ("", "  ", "a\0", 7, None)),
            ("point", {"points": "here"}),
        ]
        for kind, content in bad:
            self.assertEqual((await ada.say(kind, **content))["type"], "refused", (kind, content))
        self.assertEqual(await self.whole(), {"version": 0, "drawn": []})
        await self.leave(ada)

    async def test_a_stroke_has_an_end(self) -> None:
        ada = await self.come()
        await ada.say("draw", key="k", points=[1, 1] * 256)
        self.assertIn("256", (await ada.say("draw", key="k", points=[1, 1]))["reason"])
        await ada.say("end", key="k")
        self.assertEqual(len((await self.whole())["drawn"][0]["points"]), 512)
        await self.leave(ada)

    async def test_a_page_that_missed_something_asks_for_the_whole_board(self) -> None:
        ada = await self.come()
        await ada.draw("a")
        ada.number += 1
        await ada.client.send_json_to({"type": "board", "n": ada.number})
        self.assertEqual(len((await ada.hear("board"))["drawn"]), 1)
        await self.leave(ada)

    async def test_who_is_signed_in_is_called_by_name(self) -> None:
        user = await User.objects.acreate(username="ada")
        await asyncio.to_thread(self.client.force_login, user)
        cookies = f"sessionid={self.client.cookies['sessionid'].value}"
        ada = await self.come(cookies)
        self.assertEqual((await ada.hear("self"))["name"], "ada")
        await self.leave(ada)

    async def test_nobody_gets_to_a_board_that_is_not_there_or_from_another_site(self) -> None:
        for stranger in (Player(slug="nowhere"), Player(origin="https://elsewhere.example")):
            self.assertFalse(await stranger.open())
            await self.leave(stranger)

    def test_a_page_can_ask_for_nothing_but_the_acts(self) -> None:
        self.assertTrue(all(getattr(BoardConsumer, act.__name__) is act for act in ACTS.values()))
        self.assertNotIn("board_changed", [act.__name__ for act in ACTS.values()])
