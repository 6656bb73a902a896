"""Tests of the processes: ``python manage.py test demo``."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

from django.test import Client, TestCase, override_settings

from channels.test import ChannelTestCase, WSClient

RESTART = "/processes/worker/restart/"


class RestartTests(TestCase):
    """The button, with a manager that notes what it is told."""

    def setUp(self) -> None:
        directory = self.enterContext(tempfile.TemporaryDirectory())
        address = os.path.join(directory, "control")
        self.told: list[str] = []
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(address)
        listener.listen()
        self.answers = threading.Thread(target=self.answer, args=(listener,), daemon=True)
        self.answers.start()
        self.enterContext(override_settings(DEBUG=True, DEMO_CONTROL=address, ALLOWED_HOSTS=["testserver"]))

    def answer(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, client.makefile("rw") as stream:
            self.told.append(stream.readline())
            stream.write("ok")

    def test_a_press_restarts_the_process(self) -> None:
        self.assertRedirects(self.client.post(RESTART), "/")
        self.answers.join(10)
        self.assertEqual(self.told, ["restart worker\n"])

    def test_the_page_offers_it_only_to_whom_it_would_obey(self) -> None:
        self.assertContains(self.client.get("/"), RESTART)
        self.assertNotContains(self.client.get("/", REMOTE_ADDR="192.0.2.7"), RESTART)
        with override_settings(DEBUG=False):
            self.assertNotContains(self.client.get("/"), RESTART)

    def test_nobody_else_restarts_anything(self) -> None:
        self.assertEqual(self.client.get(RESTART).status_code, 405)
        self.assertEqual(Client(enforce_csrf_checks=True).post(RESTART).status_code, 403)
        self.assertEqual(self.client.post("/processes/database/restart/").status_code, 404)
        for stranger in ("192.0.2.7", "", "::ffff:192.0.2.7"):
            self.assertEqual(self.client.post(RESTART, REMOTE_ADDR=stranger).status_code, 404)
        for setting in ({"DEBUG": False}, {"DEMO_CONTROL": ""}):
            with override_settings(**setting):
                self.assertEqual(self.client.post(RESTART).status_code, 404)
        self.assertEqual(self.told, [])

    def test_without_a_manager_the_answer_is_a_sentence(self) -> None:
        with override_settings(DEMO_CONTROL="/nowhere/control"):
            self.assertContains(self.client.post(RESTART), "Start the demo with make demo.", status_code=503)


@override_settings(ALLOWED_HOSTS=["testserver"])
class SocketTests(ChannelTestCase):
    def open(self) -> WSClient:
        client = WSClient()
        client.set_header("origin", "http://testserver")
        client.send_and_consume("websocket.connect", path="/processes/")
        return client

    def test_each_question_is_answered_with_who_answers(self) -> None:
        client = self.open()
        client.send_and_consume("websocket.receive", {"text": {"question": 7}}, path="/processes/")
        self.assertEqual(client.receive(), {"answer": 7, "worker": os.getpid()})

    def test_what_is_no_question_is_refused_in_a_sentence(self) -> None:
        client = self.open()
        for nonsense in ("7", "{", "{}", '{"question": null}', '{"question": 1e400}', "[" * 100_000):
            client.send_and_consume("websocket.receive", {"text": nonsense}, path="/processes/")
            self.assertIn("refused", client.receive())
