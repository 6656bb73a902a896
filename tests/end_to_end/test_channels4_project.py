"""An application written for Channels 4, as real processes, with its workers replaced between the steps."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from channel_layer.messages import RESUME
from channel_layer.redis import RedisChannelLayer
from interface_server.websocket.slow_turns import RESUME_SECONDS
from tests.conftest import wait_until
from tests.end_to_end.channels4_site import SECONDS, Site, serving
from tests.end_to_end.processes import Service


@pytest.fixture(scope="module")
def site(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving("tests.fixtures.channels4_project", new_database(), tmp_path_factory.mktemp("channels4")) as site:
        yield site


@pytest.fixture
def sockets(site: Site) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(site.open(path))


def say(socket: ClientConnection, text: str, **more: Any) -> dict[str, Any]:
    socket.send(json.dumps({"text": text, **more}))
    return hear(socket)


def hear(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(socket.recv(SECONDS))
    return found


def test_a_deploy_drops_no_socket_and_loses_no_state(site: Site, sockets: Any) -> None:
    one, other = sockets("/ws/chat/a/"), sockets("/ws/chat/a/")
    first = site.pid
    assert say(one, "hello") == {"text": "hello", "said": 1, "mine": True, "user": "", "pid": first}
    assert hear(other) == {"text": "hello", "said": 1, "mine": False, "user": "", "pid": first}
    site.deploy()
    assert say(one, "again")["said"] == 2
    assert hear(other) == {"text": "again", "said": 2, "mine": False, "user": "", "pid": site.pid}
    with urllib.request.urlopen(f"{site.project.url}/announce/a/", timeout=SECONDS) as response:
        assert response.read() == b"announced"
    assert hear(one)["text"] == hear(other)["text"] == "from a view"
    site.deploy()
    one.close()
    assert hear(other) == {"left": 2, "code": 1000}


def test_frames_and_messages_that_come_while_no_worker_is_there_wait(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/chat/wait/")
    say(socket, "before")
    site.worker.stop()
    for number in range(20):
        socket.send(json.dumps({"text": str(number)}))
    site.worker.start()
    assert [hear(socket)["text"] for _ in range(20)] == [str(number) for number in range(20)]


def test_a_handler_that_is_at_work_ends_on_its_worker(site: Site, sockets: Any, tmp_path: Path) -> None:
    socket, gate = sockets("/ws/chat/work/"), tmp_path / "gate"
    say(socket, "first")
    socket.send(json.dumps({"do": "wait", "for": str(gate), "text": "slow"}))
    socket.send(json.dumps({"text": "next"}))
    before = site.worker.text()
    old = site.replace()
    wait_until(lambda: "stopping" in old.text().removeprefix(before), "the old worker to stop")
    gate.touch()
    found = [hear(socket), hear(socket)]
    assert [(one["text"], one["said"]) for one in found] == [("slow", 2), ("next", 3)]
    assert found[1]["pid"] == site.pid
    old.wait_for_end()


def test_a_sync_consumer_with_a_model_on_itself(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/notes/")
    for number, notes in enumerate((["a"], ["a", "b"], ["a", "b", "c"])):
        socket.send(notes[-1])
        assert hear(socket) == {"owner": "owner", "mine": notes, "new": notes[-1]}
        if number < 2:
            site.deploy()


def test_login_and_logout_in_a_consumer(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/chat/login/")
    assert say(socket, "in", do="login", name="ada")["user"] == "ada"
    assert say(socket, "still")["user"] == "ada"
    assert say(socket, "out", do="logout")["user"] == ""


@pytest.mark.slow
def test_what_connect_started_starts_again_elsewhere(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/clock/")
    first = str(site.pid)
    assert socket.recv(SECONDS) == first
    site.deploy()
    wait_until(lambda: socket.recv(SECONDS) == str(site.pid), "a tick of the new worker")


@pytest.mark.slow
def test_what_cannot_be_carried_is_closed_and_named_at_the_end_of_the_grace_period(site: Site, sockets: Any) -> None:
    socket, quiet = sockets("/ws/game/"), sockets("/ws/chat/quiet/")
    socket.send("go")
    assert socket.recv(SECONDS) == f"started by {site.pid}"
    log = site.worker
    site.deploy()
    with pytest.raises(ConnectionClosed):
        socket.recv(SECONDS)
    assert socket.close_code == 1012
    log.wait_to_say("/ws/game/", "still runs")
    assert say(quiet, "still here")["said"] == 1


@pytest.mark.slow
def test_a_class_that_hands_over_itself(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/stream/")
    socket.send("go")
    first = site.pid
    assert socket.recv(SECONDS) == f"{first} 1"
    site.deploy()
    found: list[list[int]] = []
    while not found or found[-1][0] == first:
        found.append([int(word) for word in str(socket.recv(SECONDS)).split()])
    assert found[-1][0] == site.pid
    assert [position for _, position in found] == list(range(2, len(found) + 2))


def test_a_worker_that_is_killed_costs_the_event_in_hand_at_most(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/chat/kill/")
    assert say(socket, "one")["said"] == 1
    site.worker.kill()
    site.worker.start()
    for text in ("in hand", "two", "three"):
        socket.send(json.dumps({"text": text}))
    heard = [hear(socket)]
    while heard[-1]["text"] != "three":
        heard.append(hear(socket))
    assert [one["text"] for one in heard][-2:] == ["two", "three"]
    assert [one["said"] for one in heard][-2:] in ([2, 3], [3, 4])


def test_a_worker_that_is_killed_before_it_says_a_word_costs_the_event_in_hand_and_a_few_seconds(
    site: Site, sockets: Any
) -> None:
    socket = sockets("/ws/chat/doom/")
    assert say(socket, "one")["said"] == 1
    site.worker.stop()
    layer = RedisChannelLayer(hosts=[site.project.environment["REDIS_URL"]])
    socket.send(json.dumps({"text": "in hand"}))
    try:  # what a worker takes that is killed at once
        [taken] = layer.receive_batch([RESUME], timeout=SECONDS)
    finally:
        layer.close()
    assert [json.loads(event["text"])["text"] for event in taken.message["events"]] == ["in hand"]
    site.worker.start()
    began = time.monotonic()
    assert say(socket, "two")["said"] == 2
    assert time.monotonic() - began < RESUME_SECONDS + 7


def test_an_application_that_is_no_consumer(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/raw/")
    socket.send("hello")
    assert socket.recv(SECONDS) == f"{site.pid} hello"


@pytest.mark.slow
def test_a_worker_that_is_started_later_gets_its_part_of_quiet_connections(site: Site, sockets: Any) -> None:
    several = [sockets(f"/ws/chat/part{number}/") for number in range(60)]
    assert {say(socket, "one")["pid"] for socket in several} == {site.pid}
    more = Service("more", site.worker.command, site.project.environment, site.worker.log.parent)
    with more:
        site.worker.wait_to_say("go to workers that have fewer", within=60)
        heard = [say(socket, "two") for socket in several]
        of_new = sum(one["pid"] == more.running.pid for one in heard)
        assert 20 <= of_new <= 40, f"{of_new} of 60 went to the new worker\n{site.project.logs()}{more.text()}"
        assert [one["said"] for one in heard] == [2] * 60
        more.stop()
    assert {(one["said"], one["pid"]) for one in (say(socket, "three") for socket in several)} == {(3, site.pid)}


def test_errors_look_as_in_channels_4(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/chat/errors/")
    socket.send(json.dumps({"do": "fail"}))
    with pytest.raises(ConnectionClosed):
        socket.recv(SECONDS)
    assert socket.close_code == 1011
    with pytest.raises(InvalidStatus) as unrouted:
        site.open("/ws/nowhere/")
    assert unrouted.value.response.status_code == 500
    with pytest.raises(InvalidStatus) as foreign:
        site.open("/ws/chat/a/", origin="http://evil.example")
    assert foreign.value.response.status_code == 403
    site.worker.wait_to_say("as it was asked to", "No route found for path 'ws/nowhere/'")


def test_requests_that_the_application_answers_itself(site: Site, sockets: Any) -> None:
    body = b"x" * 1_000_000
    with urllib.request.urlopen(f"{site.project.url}/upload/", data=body, timeout=SECONDS) as response:
        assert response.read() == b"1000000 bytes from nobody"
    socket = sockets("/ws/chat/events/")
    with urllib.request.urlopen(f"{site.project.url}/events/events/", timeout=SECONDS) as events:
        assert events.headers["content-type"] == "text/event-stream"
        assert events.readline() == b"data: hello\n"
        events.readline()
        wait_until(lambda: say(socket, "news")["text"] == "news", "a message")
        assert events.readline() == b"data: news\n"
    wait_until(lambda: "left" in say(socket, "more"), "the end of the events to be noticed")


@pytest.mark.slow
def test_who_asks_again_for_events_gets_them_from_the_worker_that_came_after(site: Site, sockets: Any) -> None:
    socket = sockets("/ws/chat/again/")
    with urllib.request.urlopen(f"{site.project.url}/events/again/", timeout=SECONDS) as events:
        assert events.readline() == b"data: hello\n"
        old = site.replace()
        with suppress(IncompleteRead, ConnectionError):  # the response is broken off
            while events.readline():
                pass
    old.wait_for_end()
    with urllib.request.urlopen(f"{site.project.url}/events/again/", timeout=SECONDS) as events:
        assert [events.readline(), events.readline()] == [b"data: hello\n", b"\n"]
        wait_until(lambda: say(socket, "news")["text"] == "news", "a message")
        assert events.readline() == b"data: news\n"
