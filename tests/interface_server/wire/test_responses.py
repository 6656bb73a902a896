from __future__ import annotations

import pytest

from interface_server.wire.responses import BadResponse, Head, beginning_of, content_of, handshake_fields


def test_the_fields_about_framing_are_not_passed_on() -> None:
    head = Head({"status": 200, "headers": [[b"Content-Length", b"3"], [b"Transfer-Encoding", b"chunked"],
                                            [b"Connection", b"close"], [b"X-A", b"b"], [b"Date", b"now"]]})  # fmt: skip
    assert [field[:2] for field in head.fields] == [(b"X-A", b"b"), (b"Date", b"now")]
    assert (head.length, head.close, head.has_date) == (3, True, True)


def test_a_field_that_was_seen_before_is_checked_by_its_bytes() -> None:
    for value in (b"b", b"b\n", b"b", b"x" * 300):
        if b"\n" in value:
            with pytest.raises(BadResponse, match="control character"):
                Head({"status": 200, "headers": [[b"X-A", value]]})
        else:
            assert [field.line for field in Head({"status": 200, "headers": [["X-A", value]]}).fields] == [
                b"X-A: %b\r\n" % value
            ]


def test_headers_may_be_left_out() -> None:
    assert Head({"status": 200}).fields == []
    assert Head({"status": 200, "headers": None}).fields == []


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"status": True},
        {"status": 100},
        {"status": 600},
        {"status": 200, "headers": [(b"a", b"b\n")]},
        {"status": 200, "headers": [(b"a", b"b\x00")]},
        {"status": 200, "headers": [(b"a:", b"b")]},
        {"status": 200, "headers": [(b"", b"b")]},
        {"status": 200, "headers": [(b"a\n", b"b")]},
        {"status": 200, "headers": [b"ab"]},
        {"status": 200, "headers": [(b"a", b"b", b"c")]},
        {"status": 200, "headers": [("a", "\u20ac")]},
        {"status": 200, "headers": [("a", "b\r\nc: d")]},
        {"status": 200, "headers": [("\xe4", "b")]},
        {"status": 200, "headers": [(b"a", 1)]},
        {"status": 200, "headers": {b"a": b"b"}},
        {"status": 200, "headers": [(b"content-length", b"-1")]},
        {"status": 200, "headers": [(b"content-length", b"1\n")]},
    ],
)
def test_a_head_that_must_not_go_out_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(BadResponse):
        Head(message)


@pytest.mark.parametrize(
    "pair", [("X-Name", "Zo\xeb"), ("X-Name", b"Zo\xeb"), (b"X-Name", "Zo\xeb"), [b"X-Name", b"Zo\xeb"]]
)
def test_headers_as_text_are_latin_1(pair: object) -> None:
    head = Head({"status": 200, "headers": [pair, ("Content-Length", "3")]})
    assert ([field[:2] for field in head.fields], head.length) == ([(b"X-Name", b"Zo\xeb")], 3)


def test_text_that_no_header_can_carry_is_named() -> None:
    with pytest.raises(BadResponse, match="header text 'a€' has characters outside of Latin-1; encode it to bytes"):
        Head({"status": 200, "headers": [("x", "a€")]})


def test_the_answer_to_a_handshake_has_further_fields_but_not_the_servers_own() -> None:
    assert handshake_fields([["Set-Cookie", "a=\u00e9"], (b"x", b"")]) == [(b"Set-Cookie", b"a=\xe9"), (b"x", b"")]
    for name in (b"Upgrade", b"connection", b"Sec-WebSocket-Accept", b"Content-Length", b"Transfer-Encoding"):
        with pytest.raises(BadResponse, match=r"the server's own: .*; leave it out"):
            handshake_fields([(name, b"x")])
    with pytest.raises(BadResponse, match="give a subprotocol instead"):
        handshake_fields([(b"sec-websocket-protocol", b"x")])
    with pytest.raises(BadResponse, match="'headers' is dict"):
        handshake_fields({})


def test_content_is_bytes_or_nothing() -> None:
    assert content_of({}) == b""
    assert content_of({"content": None}) == b""
    assert content_of({"content": b"a"}) == b"a"
    with pytest.raises(BadResponse, match="'content' is str, it must be bytes"):
        content_of({"content": "a"})


@pytest.mark.parametrize(
    ("status", "method", "bodiless"), [(200, "GET", False), (200, "HEAD", True), (204, "GET", True)]
)
def test_some_responses_have_no_content(status: int, method: str, bodiless: bool) -> None:
    assert Head({"status": status}).bodiless(method) is bodiless


def test_a_whole_response_has_the_length_that_its_head_says() -> None:
    message = {"status": 200, "headers": [(b"Content-Length", b"3")], "content": b"four"}
    with pytest.raises(BadResponse, match="its content length says 3, its content has 4 bytes"):
        beginning_of(message, "GET")
    assert beginning_of(message, "HEAD")[1:] == (b"four", False)
    assert beginning_of({**message, "more_content": True}, "GET")[1:] == (b"four", True)
