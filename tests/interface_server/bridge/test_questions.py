"""Answers of a web server to operators, on an event loop of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from channel_layer.delivery import Delivery
from channel_layer.questions import PAGE_ROWS, PATIENCE, question
from interface_server.bridge import questions
from interface_server.websocket.connection import Phase, WebSocketConnection
from tests.interface_server.fakes import FakeSocket, QuietContext, scope
from tests.interface_server.helpers import become

ASKER = "millrace.answers?x"


class Server:
    """A context with open WebSockets that answers."""

    def __init__(self, **options: Any) -> None:
        self.context = QuietContext(**options)
        self.questions = self.context.questions
        self.questions._uplink = self.context.uplink
        self.sockets: list[FakeSocket] = []

    def open(self, path: str = "/p", accept: bool = True, client: Any = ("10.0.0.1", 5000)) -> WebSocketConnection:
        socket = FakeSocket()
        made = scope("websocket", path=path, scheme="ws", subprotocols=())
        connection = WebSocketConnection(self.context, {**made, "client": client}, socket)
        connection.open()
        if accept:
            turn = (self.context.records.entries[-1].item.headers or {}).get("turn")
            connection.deliver({"accept": True}, {"turn": turn})
        self.sockets.append(socket)
        return connection

    def join(self, connection: WebSocketConnection, group: str) -> None:
        reader = self.context.name
        self.context.layer.index.join(reader, group, connection.channel.removeprefix(reader), 100)

    def ask(self, ask: str, within: Callable[[], None] | None = None, **more: Any) -> list[dict[str, Any]]:
        """The pages of the answer; ``within`` runs when the loop first has its turn."""

        async def run() -> None:
            message = {**question(ask, ASKER, {}), **more}
            self.questions.hear(Delivery(f"{self.context.name}questions", message))
            task = asyncio.create_task(self.questions.run())
            if within is not None:
                asyncio.get_running_loop().call_soon(within)
            async with asyncio.timeout(20):
                await become(lambda: any(page["last"] for page in self.context.messages_on(ASKER)))
            task.cancel()

        asyncio.run(run())
        pages = self.context.messages_on(ASKER)
        self.context.records.entries = [one for one in self.context.records.entries if one.item.target != ASKER]
        return pages


def test_a_row_says_what_an_operator_looks_for() -> None:
    server = Server()
    connection = server.open("/chat/")
    server.join(connection, "room")
    connection.deliver({}, {"user": "ada"})
    server.context.now += 90
    [page] = server.ask("connections", limit=10)
    assert page["count"] == 1
    assert page["rows"] == [
        {
            "name": connection.channel,
            "kind": "websocket",
            "path": "/chat/",
            "client": "10.0.0.1:5000",
            "age": 90.0,
            "state": "open",
            "user": "ada",
            "worker": None,
            "groups": ["room"],
            "groups_count": 1,
        }
    ]


def test_many_connections_come_in_pages_and_the_event_loop_has_its_turn_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "SLICE", 50)
    server = Server()
    opened = [server.open() for _ in range(PAGE_ROWS * 2 + 30)]
    gone: list[str] = []

    def close_one() -> None:
        gone.append(opened[-1].channel)
        opened[-1].lost(1001)
        opened[-1].deliver({}, {"turn": opened[-1]._turn})

    pages = server.ask("connections", close_one, limit=10_000)
    assert gone, "the loop had no turn while it answered"
    assert [len(page["rows"]) for page in pages] == [PAGE_ROWS, PAGE_ROWS, 29]
    assert pages[-1]["count"] == PAGE_ROWS * 2 + 29
    assert gone[0] not in [row["name"] for page in pages for row in page["rows"]]


def test_a_limit_bounds_the_rows_and_not_the_count() -> None:
    server = Server()
    for _ in range(5):
        server.open()
    [page] = server.ask("connections", limit=2)
    assert (len(page["rows"]), page["count"]) == (2, 5)


def test_connections_are_found_by_path_user_group_and_kind() -> None:
    server = Server()
    chat, other, waiting = server.open("/chat/a/"), server.open("/other/"), server.open("/chat/b/", accept=False)
    server.join(other, "room")
    server.join(waiting, "room")
    chat.user = "ada"

    def found(**asked: str) -> set[str]:
        return {row["name"] for row in server.ask("connections", limit=9, **asked)[0]["rows"]}

    assert found(path="/chat/") == {chat.channel, waiting.channel}
    assert found(user="ada") == {chat.channel}
    assert found(group="room") == {other.channel, waiting.channel}
    assert found(group="room", path="/o") == {other.channel}
    assert found(kind="request") == found(user="bob") == found(group="nobody") == set()


def test_one_connection_is_described_from_the_first_look_on_with_its_events() -> None:
    server = Server()
    connection = server.open()
    [page] = server.ask("connection", name=connection.channel)
    row = page["row"]
    assert (row["turn"], row["events"], row["outbox_bytes"], row["frames"]) == (None, None, 0, 0)
    connection.received("hello")
    [page] = server.ask("connection", name=connection.channel)
    row = page["row"]
    assert (row["turn"]["number"], row["turn"]["consumer"], row["frames"]) == (2, None, 1)
    assert [event[1:] for event in row["events"]] == [["frame from client", 5]]
    connection.deliver({}, {"begun": 2, "seconds": 1.0, "worker": "worker.x", "consumer": "app.receive"})
    connection.deliver({"text": "hi"}, None)
    [page] = server.ask("connection", name=connection.channel)
    row = page["row"]
    assert (row["worker"], row["consumer"], row["turn"]["consumer"]) == ("worker.x", "app.receive", "app.receive")
    connection.deliver({}, {"turn": 2})
    [page] = server.ask("connection", name=connection.channel)
    assert [event[1] for event in page["row"]["events"]] == ["frame from client", "frame to client", "turn over"]
    assert page["row"]["worker"] is None


def test_with_trace_events_there_are_some_at_the_first_look() -> None:
    server = Server(trace_events=True)
    connection = server.open()
    [page] = server.ask("connection", name=connection.channel)
    assert [event[1] for event in page["row"]["events"]] == ["opened", "turn over"]


def test_a_connection_that_is_gone_has_no_row() -> None:
    server = Server()
    assert server.ask("connection", name=f"{server.context.name}s.gone")[0]["row"] is None


def test_websockets_are_closed_and_handshakes_refused() -> None:
    server = Server()
    chat, other, waiting = server.open("/chat/"), server.open("/other/"), server.open("/chat/", accept=False)
    [page] = server.ask("close", path="/chat/", code=4001, reason="bye")
    assert page["count"] == 2
    assert server.sockets[0].calls[-1] == ("close", 4001)
    assert server.sockets[2].calls[-1] == ("reject", 403)
    assert (chat.phase, other.phase, waiting.phase) == (Phase.CLOSED, Phase.OPEN, Phase.CLOSED)
    assert server.context.facts.closes == {"operator": 1}
    assert server.ask("close", name=other.channel)[0]["count"] == 1
    assert server.ask("close", name=other.channel)[0]["count"] == 0


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ({"path": "/", "code": 1006}, "a code that may be sent"),
        ({"path": "/", "code": 999}, "a code that may be sent"),
        ({"path": "/", "reason": "ü" * 62}, "at most 123 bytes of reason"),
        ({}, "a close needs a name, a path, a user or a group"),
    ],
)
def test_an_order_that_cannot_be_right_closes_nothing(order: dict[str, Any], sentence: str) -> None:
    server = Server()
    connection = server.open()
    [page] = server.ask("close", **order)
    assert sentence in page["error"]
    assert connection.phase is Phase.OPEN


def test_a_process_ends_if_it_is_its_own_and_says_so_first() -> None:
    server = Server()
    [page] = server.ask("drain")
    assert "runs inside another server" in page["error"]
    told: list[list[dict[str, Any]]] = []
    server.questions.end_process = lambda: told.append(server.context.messages_on(ASKER))
    [page] = server.ask("drain")
    assert page["draining"] is True
    assert told == [[page]]


def test_what_came_too_late_is_left_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    ended: list[bool] = []
    server.questions.end_process = lambda: ended.append(True)
    monkeypatch.setattr(server.context.layer, "waited", lambda deliveries: [PATIENCE + 1])

    async def run() -> None:
        server.questions.hear(Delivery(f"{server.context.name}questions", question("drain", ASKER, {})))
        task = asyncio.create_task(server.questions.run())
        async with asyncio.timeout(20):
            await become(lambda: "came too late" in caplog.text)
        task.cancel()

    with caplog.at_level("INFO"):
        asyncio.run(run())
    assert ended == server.context.messages_on(ASKER) == []


def test_what_is_no_question_or_an_unknown_one_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    assert server.ask("weather")[0]["error"] == f"{server.context.name[:-1]} does not know the question 'weather'"
    assert "update one of the two" in server.ask("connections", format=99)[0]["error"]


def test_more_questions_than_can_wait_are_dropped_with_a_line(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    for _ in range(questions.MOST_WAITING + 1):
        server.questions.hear(Delivery("daphne.x!questions", {}))
    assert caplog.text.count("a question of an operator was dropped") == 1
