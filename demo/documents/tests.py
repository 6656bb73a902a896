"""Tests of the documents: ``python manage.py test demo``."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import TestCase, override_settings
from django.utils import timezone

from channels import Group
from channels.exceptions import DenyConnection
from channels.test import ChannelTestCase, WSClient
from demo.documents.groups import EVERYBODY, LIST
from demo.documents.management.commands.demo_users import PASSWORDS
from demo.documents.models import STALE_AFTER, TEXT_LENGTH, TITLE_LENGTH, Document, Presence
from demo.documents.signing_out import SIGNED_OUT

# Django's own choice makes each sign-in take half a second, on purpose.
quick_passwords = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])


class Window(WSClient):
    """A page that somebody has open."""

    def __init__(self, user: User | None, path: str = "/documents/", origin: str = "http://localhost:8000") -> None:
        super().__init__()
        self.path = path
        self.set_header("origin", origin)
        if user is not None:
            self.force_login(user)
        self.send_and_consume("websocket.connect", path=path)

    def say(self, stream: str, **payload: Any) -> None:
        self.send_and_consume("websocket.receive", text={"stream": stream, "payload": payload}, path=self.path)

    def close(self) -> None:
        self.send_and_consume("websocket.disconnect", path=self.path)

    def hear(self, stream: str) -> list[Any]:
        """What came on a stream since the last call, on whichever."""
        heard = []
        while (frame := self.receive()) is not None:
            if frame.get("stream") == stream:
                heard.append(frame["payload"])
        return heard

    def people(self) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
        """Who is here by the last that was heard: name → (reads, edits)."""
        latest = self.hear("presence")[-1]["people"]
        return {person["name"]: (person["reads"], person["edits"]) for person in latest}


@override_settings(ALLOWED_HOSTS=["localhost"])
class DocumentsTestCase(ChannelTestCase):
    def setUp(self) -> None:
        self.ada = User.objects.create_user("ada")
        self.bob = User.objects.create_user("bob")
        self.minutes = Document.objects.create(title="Minutes", changed_by=self.ada)
        self.path = self.minutes.get_absolute_url()


class EntranceTests(DocumentsTestCase):
    def test_who_is_not_signed_in_is_denied(self) -> None:
        for path in ("/documents/", self.path):
            with self.assertRaises(DenyConnection):
                Window(None, path)
        self.assertEqual(Presence.objects.count(), 0)
        for group in (LIST, EVERYBODY, self.minutes.group_name):
            self.assertEqual(list(Group(group).channel_layer.group_channels(group)), [])

    def test_a_page_of_another_site_is_denied(self) -> None:
        with self.assertRaises(DenyConnection):
            Window(self.ada, origin="https://elsewhere.example")

    def test_a_document_that_does_not_exist_has_no_socket(self) -> None:
        with self.assertRaises(DenyConnection):
            Window(self.ada, "/documents/999/")

    def test_who_signs_out_is_signed_out_in_every_window_of_that_browser(self) -> None:
        here, elsewhere = Window(self.ada), Window(self.ada)
        self.client.cookies["sessionid"] = here.session.session_key or ""
        self.client.post("/sign-out/", headers={"host": "localhost"})
        [closed] = [frame for frame in iter(here.receive, None) if "close" in frame]
        self.assertEqual(closed, {"close": SIGNED_OUT})
        self.assertFalse([frame for frame in iter(elsewhere.receive, None) if "close" in frame])


class PresenceTests(DocumentsTestCase):
    def test_those_who_have_the_list_open_see_each_other(self) -> None:
        ada = Window(self.ada)
        self.assertEqual(ada.people(), {"ada": ({}, {})})
        Window(self.bob)
        self.assertEqual(ada.people(), {"ada": ({}, {}), "bob": ({}, {})})

    def test_everybody_sees_who_reads_and_who_edits_a_document(self) -> None:
        ada, bob, pk = Window(self.ada), Window(self.bob, self.path), str(self.minutes.pk)
        self.assertEqual(ada.people()["bob"], ({pk: 1}, {}))
        bob.say("presence", editing=True)
        self.assertEqual(ada.people()["bob"], ({}, {pk: 1}))
        bob.say("presence", editing=False)
        self.assertEqual(ada.people()["bob"], ({pk: 1}, {}))

    def test_somebody_with_several_windows_is_here_until_the_last_is_closed(self) -> None:
        ada, first, second = Window(self.ada), Window(self.bob), Window(self.bob, self.path)
        first.close()
        self.assertEqual(ada.people()["bob"], ({str(self.minutes.pk): 1}, {}))
        second.close()
        self.assertEqual(ada.people(), {"ada": ({}, {})})

    def test_a_heartbeat_is_answered_and_disturbs_nobody(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob)
        ada.hear("presence")
        bob.hear("presence")
        bob.say("presence", editing=False)
        self.assertEqual(set(bob.people()), {"ada", "bob"})
        self.assertEqual(ada.hear("presence"), [])

    def test_who_was_not_heard_of_for_long_is_gone(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob)
        Presence.objects.filter(user=self.bob).update(seen=timezone.now() - STALE_AFTER - timedelta(seconds=1))
        ada.say("presence", editing=False)
        self.assertEqual(set(ada.people()), {"ada"})
        bob.say("presence", editing=False)
        self.assertEqual(set(ada.people()), {"ada", "bob"})

    def test_a_window_that_comes_back_on_another_socket_is_there_once(self) -> None:
        ada, before, pk = Window(self.ada), Window(self.bob, self.path), str(self.minutes.pk)
        before.say("presence", window="w", editing=True)
        after = Window(self.bob, self.path)
        after.say("presence", window="w", editing=True)
        self.assertEqual(ada.people()["bob"], ({}, {pk: 1}))
        before.close()
        self.assertEqual(ada.hear("presence"), [])
        ada.say("presence", editing=False)
        self.assertEqual(ada.people()["bob"], ({}, {pk: 1}))

    def test_nobody_edits_the_list(self) -> None:
        ada = Window(self.ada)
        ada.say("presence", editing=True)
        self.assertEqual(ada.people(), {"ada": ({}, {})})

    def test_readers_of_a_deleted_document_are_still_here(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob, self.path)
        ada.say("documents", action="delete", pk=self.minutes.pk)
        self.assertEqual(ada.people()["bob"], ({}, {}))
        bob.say("presence", editing=True)
        self.assertEqual(bob.people()["bob"], ({}, {}))


class ListTests(DocumentsTestCase):
    def test_it_begins_with_all_documents(self) -> None:
        [whole] = Window(self.ada).hear("documents")
        self.assertEqual(whole["action"], "list")
        [minutes] = whole["documents"]
        self.assertEqual((minutes["pk"], minutes["data"]["title"]), (self.minutes.pk, "Minutes"))
        self.assertEqual(minutes["data"]["changed_by_name"], "ada")

    def test_what_one_does_appears_on_the_others_list_and_is_told(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob)
        bob.hear("documents")
        ada.say("documents", action="create", data={"title": "  Shopping\n list "})
        [created] = bob.hear("documents")
        self.assertEqual((created["action"], created["data"]["title"]), ("create", "Shopping list"))
        ada.say("documents", action="update", pk=created["pk"], data={"title": "Groceries"})
        [renamed] = bob.hear("documents")
        self.assertEqual((renamed["action"], renamed["data"]["title"]), ("update", "Groceries"))
        ada.say("documents", action="delete", pk=created["pk"])
        [deleted] = bob.hear("documents")
        self.assertEqual((deleted["action"], deleted["pk"]), ("delete", created["pk"]))

    def test_everybody_is_told_who_did_what(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob, self.path)
        pk = self.minutes.pk
        ada.say("documents", action="update", pk=pk, data={"title": "Notes"})
        notice = {"who": "ada", "id": self.ada.pk, "did": "renamed", "title": "Notes", "before": "Minutes"}
        self.assertEqual(bob.hear("notices"), [{**notice, "document": pk}])
        ada.say("documents", action="delete", pk=pk)
        self.assertEqual([notice["did"] for notice in bob.hear("notices")], ["deleted"])

    def test_a_title_that_is_none_is_refused_with_a_sentence(self) -> None:
        ada = Window(self.ada)
        for title in ("", "  ", None, "x" * (TITLE_LENGTH + 1)):
            ada.hear("documents")
            ada.say("documents", action="create", data={"title": title})
            [refused] = ada.hear("documents")
            self.assertEqual(refused["action"], "refused", title)
        self.assertEqual(Document.objects.count(), 1)

    def test_what_is_no_longer_there_cannot_be_changed(self) -> None:
        ada = Window(self.ada)
        for pk in (999, "1", None, [1]):
            ada.hear("documents")
            ada.say("documents", action="update", pk=pk, data={"title": "Other"})
            [refused] = ada.hear("documents")
            self.assertEqual(refused["reason"], "This document is no longer there.")


class TextTests(DocumentsTestCase):
    def save(self, window: Window, text: Any, version: Any = 0, pk: int | None = None) -> None:
        window.say("text", action="update", pk=pk or self.minutes.pk, data={"text": text, "version": version})

    def test_it_begins_with_the_text(self) -> None:
        [begin] = Window(self.ada, self.path).hear("text")
        self.assertEqual((begin["action"], begin["data"]["text"], begin["data"]["version"]), ("update", "", 0))

    def test_a_save_appears_at_once_on_other_pages_of_the_document(self) -> None:
        ada, bob = Window(self.ada, self.path), Window(self.bob, self.path)
        bob.hear("text")
        self.save(ada, "The wheel turns.")
        [saved] = bob.hear("text")
        self.assertEqual((saved["data"]["text"], saved["data"]["version"]), ("The wheel turns.", 1))
        self.assertEqual(saved["data"]["changed_by_name"], "ada")

    def test_who_saves_over_something_unseen_is_refused(self) -> None:
        ada, bob = Window(self.ada, self.path), Window(self.bob, self.path)
        self.save(ada, "ada's")
        bob.hear("text")
        self.save(bob, "bob's")
        [refused] = bob.hear("text")
        self.assertEqual((refused["conflict"], refused["reason"]), (True, "ada saved meanwhile."))
        self.save(bob, "bob's", version=1)
        self.minutes.refresh_from_db()
        self.assertEqual((self.minutes.text, self.minutes.version, self.minutes.changed_by), ("bob's", 2, self.bob))

    def test_what_is_no_text_is_refused(self) -> None:
        ada = Window(self.ada, self.path)
        for text, version in ((None, 0), (5, 0), ("x" * (TEXT_LENGTH + 1), 0), ("a\0b", 0), ("fine", None)):
            ada.hear("text")
            self.save(ada, text, version)
            [refused] = ada.hear("text")
            self.assertEqual(refused["action"], "refused")
        self.minutes.refresh_from_db()
        self.assertEqual(self.minutes.version, 0)

    def test_a_page_saves_no_document_but_its_own(self) -> None:
        other = Document.objects.create(title="Other")
        self.save(Window(self.ada, self.path), "wrong page", pk=other.pk)
        other.refresh_from_db()
        self.assertEqual(other.text, "")

    def test_readers_hear_of_a_deletion(self) -> None:
        ada, bob = Window(self.ada), Window(self.bob, self.path)
        bob.hear("text")
        ada.say("documents", action="delete", pk=self.minutes.pk)
        self.assertEqual([heard["action"] for heard in bob.hear("text")], ["delete"])


@quick_passwords
class PageTests(TestCase):
    def test_who_is_not_signed_in_is_led_to_the_sign_in_and_back(self) -> None:
        self.assertRedirects(self.client.get("/documents/"), "/sign-in/?next=/documents/")
        User.objects.create_user("ada", password="secret")
        response = self.client.post("/sign-in/", {"username": "ada", "password": "secret", "next": "/documents/"})
        self.assertRedirects(response, "/documents/")

    def test_wrong_words_are_said_to_be_wrong(self) -> None:
        response = self.client.post("/sign-in/", {"username": "ada", "password": "wrong"})
        self.assertContains(response, "do not belong together")

    def test_a_document_has_a_page(self) -> None:
        self.client.force_login(User.objects.create_user("ada"))
        document = Document.objects.create(title="</script><b>bold</b>")
        self.assertContains(self.client.get(document.get_absolute_url()), "&lt;b&gt;bold")
        self.assertEqual(self.client.get("/documents/999/").status_code, 404)

    def test_the_start_page_leads_there(self) -> None:
        self.assertContains(self.client.get("/"), 'href="/documents/"')


@quick_passwords
class DemoUsersTests(TestCase):
    def run_command(self) -> str:
        output = StringIO()
        call_command("demo_users", stdout=output)
        return output.getvalue()

    @override_settings(DEBUG=True)
    def test_it_makes_two_users_and_says_how_to_sign_in(self) -> None:
        for _ in range(2):
            said = self.run_command()
            for name, password in PASSWORDS.items():
                self.assertIn(f"{name}, password: {password}", said)
                self.assertTrue(self.client.login(username=name, password=password))
        self.assertEqual(User.objects.count(), 2)
        self.assertFalse(User.objects.filter(is_staff=True).exists())

    @override_settings(DEBUG=True)
    def test_a_user_who_is_there_keeps_the_password(self) -> None:
        User.objects.create_user("ada", password="my own")
        self.assertIn("ada, password as you have changed it", self.run_command())
        self.assertTrue(self.client.login(username="ada", password="my own"))

    @override_settings(DEBUG=False)
    def test_without_debug_it_makes_nobody(self) -> None:
        with self.assertRaisesMessage(CommandError, "only with DEBUG"):
            self.run_command()
        self.assertEqual(User.objects.count(), 0)
