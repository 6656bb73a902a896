"""What an application says on its WebSocket, and what it must not say."""

from __future__ import annotations

from typing import Any

import pytest

from channels.hosting.events import MOST_BYTES
from channels.hosting.hosted import HostedApplication

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
START = {"type": "websocket.http.response.start", "status": 401}
BODY = {"type": "websocket.http.response.body", "body": b"who are you?"}


async def application(scope: Any, receive: Any, send: Any) -> None: ...


def said(*events: dict[str, Any], begins: bool = True) -> list[Any]:
    """The messages for events of an application that has just been asked, or that goes on in another worker."""
    waiting = [(1, {"type": "websocket.connect"})] if begins else []
    one = HostedApplication(application, {"path": "/"}, "daphne.x!y", 0, 0, waiting, None)
    return [one.reply_to(event) for event in events]


@pytest.mark.parametrize(
    ("event", "reply"),
    [
        (ACCEPT, {"accept": True}),
        ({**ACCEPT, "subprotocol": "chat", "headers": []}, {"accept": True, "subprotocol": "chat"}),
        ({**ACCEPT, "headers": [(b"set-cookie", b"a=b")]}, {"accept": True, "headers": [[b"set-cookie", b"a=b"]]}),
        ({**ACCEPT, "headers": ((bytearray(b"a"), "b"),)}, {"accept": True, "headers": [[b"a", "b"]]}),
        ({**CLOSE, "code": 401}, {"close": 1000}),
    ],
    ids=str,
)
def test_how_an_application_answers_a_handshake(event: dict[str, Any], reply: dict[str, Any]) -> None:
    assert said(event) == [reply]


@pytest.mark.parametrize(
    ("event", "reply"),
    [
        ({"type": "websocket.send", "text": ""}, {"text": ""}),
        ({"type": "websocket.send", "text": None, "bytes": bytearray(b"x")}, {"bytes": b"x"}),
        ({"type": "websocket.send", "text": "", "bytes": b"x"}, {"bytes": b"x"}),
        (CLOSE, {"close": 1000}),
        ({**CLOSE, "code": 4001, "reason": "bye"}, {"close": 4001, "reason": "bye"}),
        ({**CLOSE, "reason": "\u20ac" * 50}, {"close": 1000, "reason": "\u20ac" * 41}),
    ],
    ids=str,
)
def test_what_it_may_say_on_an_open_connection(event: dict[str, Any], reply: dict[str, Any]) -> None:
    assert said(ACCEPT, event)[1] == said(event, begins=False)[0] == reply


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ({"text": "x"}, "has sent an event without a 'type'"),
        ({"type": "websocket.send", "text": "x"}, "the socket has not been accepted"),
        ({"type": "http.response.start"}, "'http.response.start', where it can send websocket.accept, websocket.close"),
        ({**ACCEPT, "subprotocol": 7}, "'subprotocol' is int"),
        ({**ACCEPT, "headers": [(b"a", b"b\r\nc: d")]}, "holds a control character"),
        ({**ACCEPT, "headers": [(b"a b", b"c")]}, "header name b'a b' is not allowed"),
        ({**ACCEPT, "headers": [(b"Sec-WebSocket-Protocol", b"x")]}, "give a subprotocol instead"),
        ({**ACCEPT, "headers": [(b"Sec-WebSocket-Accept", b"x")]}, "the server's own: 'Sec-WebSocket-Accept'"),
        ({**ACCEPT, "headers": [(b"connection", b"close")]}, "the server's own: 'connection'"),
        ({**ACCEPT, "headers": [(b"content-length", b"0")]}, "the server's own: 'content-length'"),
        ({**START, "status": 101}, "status 101 is not an HTTP status"),
        ({"type": START["type"]}, "has no 'status'"),
        (BODY, "has sent 'websocket.http.response.body', where"),
    ],
    ids=str,
)
def test_no_answer_to_a_handshake(event: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        said(event)


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (ACCEPT, "'websocket.accept', where it can send websocket.close, websocket.send"),
        (START, "where it can send websocket.close, websocket.send"),
        ({"type": "websocket.send"}, "neither 'text' nor 'bytes'"),
        ({"type": "websocket.send", "text": "x", "bytes": b"x"}, "both 'text' and 'bytes'"),
        ({"type": "websocket.send", "text": 7}, "'text' of websocket.send is int"),
        ({"type": "websocket.send", "bytes": 7}, "'bytes' of websocket.send is int"),
        ({**CLOSE, "code": 7}, "7 is not a close code"),
    ],
    ids=str,
)
def test_what_it_must_not_say_on_an_open_connection(event: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        said(ACCEPT, event)


def test_a_handshake_is_denied_with_a_response_that_is_carried_as_a_whole() -> None:
    fields = [(b"content-type", b"text/plain")]
    first, second, third = said({**START, "headers": fields}, {**BODY, "more_body": True}, {**BODY, "body": b"!"})
    assert first is second is None
    assert third == {
        "accept": False,
        "status": 401,
        "headers": [[b"content-type", b"text/plain"]],
        "content": b"who are you?!",
    }
    with pytest.raises(ValueError, match=r"where it can send websocket\.http\.response\.body"):
        said(START, ACCEPT)
    with pytest.raises(ValueError, match="bytes at most"):
        said(START, {**BODY, "body": bytes(MOST_BYTES + 1)})


@pytest.mark.parametrize("last", [[CLOSE], [START, BODY]])
def test_what_comes_behind_the_end_is_let_pass(last: list[dict[str, Any]]) -> None:
    assert said(*last, {"type": "websocket.send", "text": "late"}, CLOSE, BODY)[-1] is None
