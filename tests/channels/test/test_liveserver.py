"""`channels.test.liveserver`: real sockets, processes and threads beside a test."""

from __future__ import annotations

import os
import tempfile
import threading
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import override_settings
from websockets.sync.client import connect

from channels import Channel, Group, channel_layers, route
from channels.test import ChannelLiveServerTestCase
from tests.conftest import wait_until

from .test_base import passed, run

MEMORY = "channel_layer.memory.MemoryChannelLayer"
NOTE = "not patched"


def accept(message: Any) -> None:
    message.reply_channel.send({"accept": True})
    Group("everybody").add(message.reply_channel)


def answer(message: Any) -> None:
    if message["text"] == "users":
        text = ", ".join(User.objects.values_list("username", flat=True))
    elif message["text"] == "process":
        text = str(os.getpid())
    elif message["text"] == "setting":
        text = getattr(settings, "OF_THE_TEST")  # noqa: B009
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


@contextmanager
def in_a_file() -> Iterator[None]:
    """The sqlite layer, for as long as the directory of its file is there."""
    with (
        tempfile.TemporaryDirectory() as directory,
        layers("channel_layer.sqlite.SqliteChannelLayer", path=f"{directory}/layer"),
    ):
        yield


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

    def test_the_addresses_are_those_of_a_server_whose_views_answer(self) -> None:
        assert self.live_server_url.startswith("http://localhost:")
        assert self.live_server_ws_url == self.live_server_url.replace("http", "ws")
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
        cls.enterClassContext(layers(MEMORY))
        super().setUpClass()

    def test_with_the_memory_layer_everything_runs_in_this_process(self) -> None:
        assert asked(self.live_server_ws_url, "process") == str(os.getpid())

    def test_so_that_what_is_patched_is_patched(self) -> None:
        with mock.patch(f"{__name__}.NOTE", "patched"):
            assert asked(self.live_server_ws_url, "note") == "patched"


@override_settings(OF_THE_TEST="from the test")
class ProcessTests(LiveTests, ChannelLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(in_a_file())
        super().setUpClass()

    def test_with_a_layer_that_reaches_further_there_are_processes_with_the_settings_of_the_test(self) -> None:
        process = int(asked(self.live_server_ws_url, "process"))
        assert process != os.getpid()
        with connect(self.live_server_ws_url) as socket:
            socket.send("setting")
            assert socket.recv(20) == "from the test"


@pytest.mark.slow
@pytest.mark.redis
def test_it_runs_over_redis(redis_url: str) -> None:
    def body(self: Any) -> None:
        with connect(self.live_server_ws_url) as socket:
            socket.send("process")
            assert int(socket.recv(20)) != os.getpid()
            Group("everybody").send({"text": "from the test"})
            assert socket.recv(20) == "from the test"

    with layers("asgi_redis.RedisChannelLayer", hosts=[redis_url], prefix="live-test:"):
        assert passed(body, body, base=ChannelLiveServerTestCase)


@pytest.fixture
def case() -> Iterator[Any]:
    """Runs a body in a live test over the memory layer, with these attributes; gives the result."""
    with layers(MEMORY):
        yield lambda body, **attributes: run(body, base=ChannelLiveServerTestCase, **attributes)


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "lifespan.startup.failed", "message": "no database"})


@pytest.mark.parametrize("place", [layers(MEMORY), in_a_file()], ids=["threads", "processes"])
def test_an_application_that_refuses_to_start_fails_the_test(place: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def body(self: Any) -> None:
        raise AssertionError("the test ran")

    with place, override_settings(ASGI_APPLICATION=f"{__name__}.refuse"):
        trace = error_of(run(body, base=ChannelLiveServerTestCase))
    assert "the test ran" not in trace
    assert "(lifespan.startup.failed): no database" in trace + capfd.readouterr().err


def error_of(result: unittest.TestResult) -> str:
    [(_, trace)] = result.errors
    return str(trace)


class TestWhatIsLeft:
    def test_the_processes_are_gone(self) -> None:
        seen: list[Any] = []

        def body(self: Any) -> None:
            seen.append(int(asked(self.live_server_ws_url, "process")))
            seen.append(self.live_server_url)

        with in_a_file():
            assert passed(body, base=ChannelLiveServerTestCase)
        process, url = seen
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        with pytest.raises(urllib.error.URLError):
            status(url)

    def test_the_layers_and_threads_are_as_before(self, case: Any) -> None:
        before, threads = channel_layers["default"], threading.active_count()
        seen = []

        def body(self: Any) -> None:
            seen.append(channel_layers["default"] is before)
            asked(self.live_server_ws_url, "note")

        assert case(body).wasSuccessful()
        assert seen == [False]
        assert channel_layers["default"] is before
        wait_until(lambda: threading.active_count() <= threads, "the threads to end")

    def test_so_it_is_after_a_test_that_fails(self, case: Any) -> None:
        before = channel_layers["default"]
        assert "a reason" in error_of(case(lambda self: None, setUp=broken))
        assert channel_layers["default"] is before


class TestAttributes:
    def test_so_many_consumers_run_at_a_time(self, case: Any) -> None:
        both = threading.Barrier(2)

        def meet(message: Any) -> None:
            both.wait(20)
            message.reply_channel.send({"text": "met"})

        def body(self: Any) -> None:
            with connect(self.live_server_ws_url) as one, connect(self.live_server_ws_url) as two:
                one.send("x")
                two.send("x")
                assert (one.recv(20), two.recv(20)) == ("met", "met")

        with mock.patch(f"{__name__}.ROUTING", [route("websocket.receive", meet)]):
            assert case(body, worker_threads=2).wasSuccessful()

    def test_static_files_are_served_unless_they_are_not_wanted(self, case: Any) -> None:
        found = []

        def body(self: Any) -> None:
            found.append(status(f"{self.live_server_url}/static/hello.txt"))

        static = Path(__file__).parent.parent / "static"
        with override_settings(STATICFILES_DIRS=[static]):
            assert case(body).wasSuccessful()
            assert case(body, serve_static=False).wasSuccessful()
        assert found == [200, 404]

    def test_the_host_is_an_allowed_one(self, case: Any) -> None:
        def body(self: Any) -> None:
            assert self.live_server_url.startswith("http://127.0.0.1:")
            assert status(f"{self.live_server_url}/hello/") == 200

        with override_settings(ALLOWED_HOSTS=[]):
            assert case(body, host="127.0.0.1").wasSuccessful()


class TestMistakes:
    def test_without_a_test_config_it_says_so(self) -> None:
        with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY, "ROUTING": []}}):
            result = run(lambda self: None, base=ChannelLiveServerTestCase)
        assert "CHANNEL_LAYERS['default']: TEST_CONFIG is missing" in error_of(result)

    def test_a_route_that_cannot_work_is_named(self, case: Any) -> None:
        with mock.patch(f"{__name__}.ROUTING", [route("a", "no.such.consumer")]):
            assert "no.such.consumer" in error_of(case(lambda self: None))

    def test_a_setting_that_cannot_travel_is_named(self) -> None:
        with (
            in_a_file(),
            override_settings(LOCAL=lambda: None),
        ):
            result = run(lambda self: None, base=ChannelLiveServerTestCase)
        assert "the setting LOCAL cannot be passed to the processes of a live test" in error_of(result)

    def test_a_process_that_cannot_start_fails_the_test(self, capfd: pytest.CaptureFixture[str]) -> None:
        with in_a_file():
            result = run(lambda self: None, base=ChannelLiveServerTestCase, host="192.0.2.1")
        assert "the server of the live test did not start" in error_of(result)
        assert "cannot listen on 192.0.2.1" in capfd.readouterr().err


def broken(self: Any) -> None:
    raise RuntimeError("a reason")
