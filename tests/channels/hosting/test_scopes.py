"""Scopes that are made of messages."""

from __future__ import annotations

from channels.hosting.scopes import http_scope, websocket_scope
from interface_server.bridge.messages import MessageFactory
from interface_server.options import Options
from tests.interface_server.fakes import scope


def test_the_scope_of_a_websocket_says_what_the_handshake_said() -> None:
    seen = scope(
        "websocket",
        path="/chat/ä/",
        scheme="wss",
        query_string=b"a=1",
        headers=[(b"host", b"example.org"), (b"sec-websocket-protocol", b"chat, super"), (b"cookie", b"a=b")],
        client=["10.0.0.1", 4000],
        server=["10.0.0.2", 443],
    )
    made = websocket_scope(MessageFactory(Options(root_path="/app")).connect(seen, "daphne.x!y"), {})
    assert made["type"] == "websocket"
    assert made["subprotocols"] == ["chat", "super"]
    assert made["root_path"] == "/app"
    assert made["headers"] == seen["headers"]
    for key in ("path", "scheme", "query_string", "client", "server"):
        assert made[key] == seen[key]
    assert made["asgi"]["version"] == "3.0"


def test_what_a_server_does_not_know_is_not_invented() -> None:
    made = websocket_scope(MessageFactory(Options()).connect(scope("websocket"), "daphne.x!y"), {})
    assert (made["client"], made["server"], made["subprotocols"], made["query_string"]) == (None, None, [], b"")


def test_the_scope_of_a_request_has_its_method() -> None:
    seen = scope("http", method="POST", http_version="2", headers=[(b"a", b"b")])
    made = http_scope(MessageFactory(Options()).request(seen, "daphne.x!y", b"", None), {})
    assert (made["type"], made["method"], made["http_version"], made["headers"]) == (
        "http",
        "POST",
        "2",
        [(b"a", b"b")],
    )


def test_each_scope_has_a_shallow_copy_of_what_the_application_left_when_it_started() -> None:
    messages, state = MessageFactory(Options()), {"pool": ["shared"]}
    websocket = websocket_scope(messages.connect(scope("websocket"), "daphne.x!y"), state)
    request = http_scope(messages.request(scope("http"), "daphne.x!y", b"", None), state)
    for made in (websocket, request):
        assert made["state"] == state
        assert made["state"] is not state
        assert made["state"]["pool"] is state["pool"]


def test_scopes_of_websockets_share_the_headers_that_are_equal_and_no_others() -> None:
    agent, long = b"a browser", b"x" * 300

    def headers() -> list[tuple[bytes, bytes]]:
        pairs = [(b"user-agent", agent[:]), (b"cookie", b"a=b"), (b"x-long", long)]
        message = {"path": "/", "headers": [[bytes(bytearray(one)) for one in pair] for pair in pairs]}
        return websocket_scope(message, {})["headers"]  # type: ignore[no-any-return]

    one, other = headers(), headers()
    assert one == other
    assert [a is b for a, b in zip(one, other, strict=True)] == [True, False, False]
