"""Questions through each layer to a web server in this process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.memory import MemoryChannelLayer
from channel_layer.questions import FORMAT, PAGE_ROWS, page
from channel_layer.redis import RedisChannelLayer
from channel_layer.reports import Report
from channel_layer.sqlite import SqliteChannelLayer
from channels.operations import asking
from channels.operations.asking import Asking, AskingError, LayerAwayError, ask, named, server_of, web_servers
from tests.conftest import free_port, wait_until
from tests.interface_server.helpers import running

MakeLayer = Callable[[], Any]


@pytest.fixture(params=["memory", "sqlite", "redis", "encrypted"])
def make_layer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeLayer]:
    made: list[Any] = []
    prefix = f"asking-{uuid.uuid4().hex}"
    memory = MemoryChannelLayer()

    def make() -> Any:
        if request.param == "memory":
            return memory
        if request.param == "sqlite":
            made.append(SqliteChannelLayer(tmp_path / "layer.sqlite3"))
        else:
            keys = {"symmetric_encryption_keys": ["a secret of the test"]} if request.param == "encrypted" else {}
            made.append(RedisChannelLayer(hosts=[request.getfixturevalue("redis_url")], prefix=prefix, **keys))
        return made[-1]

    yield make
    for layer in made:
        layer.close()


def test_a_web_server_is_asked_on_every_layer(make_layer: MakeLayer) -> None:
    layer = make_layer()
    with running(layer=layer, workers_layer=make_layer()) as server, ExitStack() as sockets:
        opened = [sockets.enter_context(connect(server.url("/chat/"))) for _ in range(3)]
        servers = wait_until(lambda: layer.reports() and web_servers(layer), "a report")
        assert [one.name for one in servers] == [server.context.name.rstrip("!")]  # type: ignore[attr-defined]
        found = ask(layer, servers, "connections", limit=10, path="/chat/")  # type: ignore[arg-type]
        assert (found.count(), len(found.rows()), found.problems) == (3, 3, [])
        name = found.rows()[0]["name"]
        layer.send(name, {"text": "hello"})
        [other] = [one for one in opened if one.local_address[1] == int(found.rows()[0]["client"].split(":")[1])]
        assert other.recv(timeout=20) == "hello"
        assert ask(layer, [server_of(layer, name)], "close", name=name, code=4001, reason="bye").count() == 1
        assert wait_until(lambda: _closed(other), "the close") == (4001, "bye")
        assert ask(layer, servers, "connections", limit=0).count() == 2  # type: ignore[arg-type]


def _closed(socket: Any) -> tuple[int, str] | None:
    return None if socket.close_code is None else (socket.close_code, socket.close_reason)


def report(name: str, **content: Any) -> Report:
    return Report(name, {"kind": "web", "questions": FORMAT, "state": "running", **content}, 0.0)


def test_pages_are_gathered_and_who_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.2)
    layer = MemoryChannelLayer()
    one = Asking(layer, [report("daphne.a"), report("daphne.b"), report("daphne.c"), report("old", questions=None)],
                 "connections", {"limit": PAGE_ROWS * 2})  # fmt: skip
    one.begin(layer.send_batch)
    assert layer.receive(["daphne.a!"])[1]["ask"] == "connections"  # type: ignore[index]
    one.hear(page("daphne.a", 1, False, rows=[{"n": 1}]))
    one.hear(page("daphne.a", 2, True, rows=[{"n": 2}], count=2))
    one.hear(page("daphne.a", 3, True, rows=[{"n": 3}], count=2))  # nobody waits for it any more
    one.hear(page("daphne.b", 1, False, rows=[{"n": 4}]))
    one.hear(page("stranger", 1, True, rows=[{"n": 5}]))
    assert 0 < one.remaining() <= 0.2
    wait_until(lambda: not one.remaining(), "the end of patience")
    found = one.finish()
    assert [row["n"] for row in found.rows()] == [1, 2, 4]
    assert found.count() == 2
    assert found.problems == [
        "old is of a version that answers no questions; update it",
        "daphne.b did not finish its answer within 0.2 seconds",
        "daphne.c did not answer within 0.2 seconds",
    ]


def test_an_answer_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_SECONDS", 0.2)
    layer = MemoryChannelLayer()
    one = Asking(layer, [report("daphne.a")], "connections", {})
    one.begin(layer.send_batch)
    until = time.monotonic() + 20
    while one.remaining() and time.monotonic() < until:
        one.hear(page("daphne.a", 1, False, rows=[]))
        time.sleep(0.01)
    assert one.finish().problems == ["daphne.a did not finish its answer within 0.2 seconds"]


def test_an_answer_of_another_version_is_one_sentence() -> None:
    layer = MemoryChannelLayer()
    one = Asking(layer, [report("daphne.a"), report("daphne.b")], "connections", {})
    one.begin(layer.send_batch)
    one.hear({"format": 9, "process": "daphne.a", "page": 1, "last": True, "error": "this and that; update one"})
    one.hear({"format": 9, "process": "daphne.b", "something": "else"})
    assert one.finish().problems == [
        "this and that; update one",
        "daphne.b answers in format 9, not 1; update one of the two",
    ]


def test_a_process_whose_channel_is_full_is_named() -> None:
    layer = MemoryChannelLayer(capacity=1)
    layer.send("daphne.a!x", {})
    found = ask(layer, [report("daphne.a")], "connections")
    assert found.problems == ["daphne.a takes no questions: too many messages wait for it"]


def test_whom_nobody_can_ask_is_a_sentence(tmp_path: Path) -> None:
    layer = MemoryChannelLayer()
    with pytest.raises(AskingError, match="no web server reports, so there is nobody to ask"):
        web_servers(layer)
    with pytest.raises(AskingError, match=r"no process daphne\.x reports; there are: none, for no process reports"):
        named(layer, "daphne.x")
    layer.publish_report("worker.b", {"kind": "worker"})
    layer.publish_report("worker.a", {"kind": "worker"})
    with pytest.raises(AskingError, match=r"there are: worker\.a, worker\.b$"):
        server_of(layer, "daphne.x!y")
    with pytest.raises(AskingError, match=r"'room' is not the name of a connection, which is like daphne\.x!y"):
        server_of(layer, "room")
    bare = MemoryChannelLayer()
    bare.extensions = []
    with pytest.raises(AskingError, match="keeps no reports of processes"):
        web_servers(bare)
    away = RedisChannelLayer(hosts=[f"redis://127.0.0.1:{free_port()}/0"])
    with pytest.raises(LayerAwayError):
        web_servers(away)
    with pytest.raises(LayerAwayError):
        ask(away, [report("daphne.a")], "connections")
    away.close()
