from __future__ import annotations

from interface_server.wire.http_framing import Framing, date_field, head_bytes, refusal, short_response
from interface_server.wire.responses import Head


def framing(status: int = 200, content: bytes = b"", more: bool = False, length: int | None = None,
            head_only: bool = False, old: bool = False) -> Framing:  # fmt: skip
    fields = [] if length is None else [(b"content-length", b"%d" % length)]
    return Framing(Head({"status": status, "headers": fields}), content, more, head_only, old)


def test_a_whole_response_has_its_length() -> None:
    whole = framing(content=b"abc")
    assert whole.field == b"content-length: 3\r\n"
    assert whole.part(b"abc", False) == b"abc"


def test_an_empty_response_says_so() -> None:
    assert framing().field == b"content-length: 0\r\n"


def test_a_response_in_parts_is_chunked() -> None:
    parts = framing(content=b"abc", more=True)
    assert parts.field == b"transfer-encoding: chunked\r\n"
    assert parts.part(b"abc", True) == b"3\r\nabc\r\n"
    assert parts.part(b"", True) == b""
    assert parts.part(b"d", False) == b"1\r\nd\r\n0\r\n\r\n"
    assert framing(more=True).part(b"", False) == b"0\r\n\r\n"


def test_a_length_that_is_known_is_kept() -> None:
    parts = framing(more=True, length=4)
    assert parts.part(b"abc", True) == b"abc"
    assert parts.part(b"d", False) == b"d"


def test_too_much_or_too_little_for_the_length_is_noticed() -> None:
    assert framing(more=True, length=2).part(b"abc", True) is None
    assert framing(more=True, length=5).part(b"abc", False) is None


def test_an_old_client_gets_no_chunks() -> None:
    old = framing(more=True, old=True)
    assert old.until_close
    assert (old.field, old.part(b"abc", True), old.part(b"", False)) == (b"", b"abc", b"")


def test_an_answer_to_head_says_the_length_and_sends_nothing() -> None:
    head = framing(length=9, head_only=True)
    assert head.field == b"content-length: 9\r\n"
    assert head.part(b"surplus", False) == b""


def test_no_content_has_no_length() -> None:
    assert framing(status=204, content=b"x").field == b""
    assert framing(status=304).field == b""


def test_the_head_has_a_date_unless_the_consumer_gave_one() -> None:
    plain = b"".join(head_bytes(Head({"status": 200}), framing(), close=True))
    assert plain.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert plain.endswith(b"content-length: 0\r\nconnection: close\r\n\r\n")
    dated = b"".join(head_bytes(Head({"status": 299, "headers": [(b"Date", b"x")]}), framing(), close=False))
    assert dated == b"HTTP/1.1 299 \r\nDate: x\r\ncontent-length: 0\r\n\r\n"


def test_the_date_is_that_of_http() -> None:
    assert date_field().endswith(b" GMT\r\n")


def test_a_client_that_is_turned_away_hears_when_to_come_back() -> None:
    assert b"retry-after: 7\r\n" in refusal(503, 7)
    assert b"retry-after" not in refusal(400, 7)


def test_a_short_response_is_whole() -> None:
    response = short_response(503, (b"upgrade", b"websocket"))
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"upgrade: websocket\r\n" in response
    assert response.endswith(b"\r\n\r\nService Unavailable\n")
