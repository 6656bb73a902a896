"""`channels.test.liveserver`: real sockets, processes and threads beside a test."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.test import override_settings
from websockets.sync.client import connect

from channels import Channel, Group, route
from channels.test import ChannelLiveServerTestCase

NOTE = "not patched"


def accept(message: Any) -> None:
    message.reply_channel.send({"accept": True})
    Group("everybody").add(message.reply_channel)


def answer(message: Any) -> None:
    if message["text"] == "users":
        text = ", ".join(User.objects.values_list("username", flat=True))
    elif message["text"] == "process":
        text = str(os.getpid())
    elif message["text"] == "thread":
        text = threading.current_thread().name
    else:
        text = NOTE
    message.reply_channel.send({"text": text})


def announce(message: Any) -> None:
    User.objects.create(username=message["name"])
    Group("everybody").send({"text": message["name"]})


ROUTING = [
    route("websocket.connect", accept),
    route("websocket.receive", answer),
    route("announce", announce),
]


def layers(backend: str, **config: Any) -> Any:
    entry = {"BACKEND": backend, "CONFIG": {}, "TEST_CONFIG": config, "ROUTING": f"{__name__}.ROUTING"}
    return override_settings(CHANNEL_LAYERS={"default": entry})


def asked(url: str, text: str) -> Any:
    with connect(url) as socket:
        socket.send(text)
        return socket.recv(20)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


class LiveTests:
    """What holds however the parts run."""

    live_server_url: str
    live_server_ws_url: str

    def test_the_addresses_are_those_of_the_server(self) -> None:
        assert self.live_server_url.startswith("http://localhost:")
        assert self.live_server_ws_url == self.live_server_url.replace("http", "ws")

    def test_a_view_answers_and_what_does_not_exist_is_not_found(self) -> None:
        assert status(f"{self.live_server_url}/hello/") == 200
        assert status(f"{self.live_server_url}/nowhere/") == 404

    def test_consumers_see_what_the_test_put_into_the_database(self) -> None:
        User.objects.create(username="ada")
        assert asked(self.live_server_ws_url, "users") == "ada"

    def test_what_they_put_into_it_is_seen_and_the_next_test_finds_it_empty(self) -> None:
        assert not User.objects.exists()
        with connect(self.live_server_ws_url) as socket:
            socket.send("hello")
            assert socket.recv(20) == NOTE
            Channel("announce").send({"name": "bob"})
            assert socket.recv(20) == "bob"
        assert User.objects.get().username == "bob"


class ThreadTests(LiveTests, ChannelLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(layers("channel_layer.memory.MemoryChannelLayer"))
        super().setUpClass()

    def test_with_the_memory_layer_everything_runs_in_this_process(self) -> None:
        assert asked(self.live_server_ws_url, "process") == str(os.getpid())

    def test_so_that_what_is_patched_is_patched(self) -> None:
        with mock.patch(f"{__name__}.NOTE", "patched"):
            assert asked(self.live_server_ws_url, "note") == "patched"

    def test_static_files_are_served_without_debug(self) -> None:
        assert status(f"{self.live_server_url}/static/admin/nothing.css") == 404


class ProcessTests(LiveTests, ChannelLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        name = f"live-test-{os.getpid()}"
        cls.enterClassContext(layers("channel_layer.sqlite.SqliteChannelLayer", name=name))
        super().setUpClass()

    def test_with_a_layer_that_reaches_further_there_are_processes(self) -> None:
        process = int(asked(self.live_server_ws_url, "process"))
        assert process != os.getpid()

    def test_which_are_gone_afterwards(self) -> None:
        process = int(asked(self.live_server_ws_url, "process"))
        self.addCleanup(os.kill, process, 0)  # cleanups of a test run before its processes end
        type(self).worker_before = process  # type: ignore[attr-defined]


def processes_of_this_one() -> set[str]:
    found = set()
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                status_text = (directory / "status").read_text()
            except OSError:
                continue
            if f"PPid:\t{os.getpid()}\n" in status_text:
                found.add(directory.name)
    return found
