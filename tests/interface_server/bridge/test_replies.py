from __future__ import annotations

import pytest

from interface_server.bridge.replies import BadReply, Payload, Reply, refuses


def test_text_and_bytes_become_frames() -> None:
    assert Payload("hé").encode() == b"\x81\x03h\xc3\xa9"
    assert Payload(b"\x00").encode() == b"\x82\x01\x00"


def test_a_payload_keeps_its_frame() -> None:
    payload = Payload("x")
    assert payload.frame is None
    assert payload.encode() is payload.frame


@pytest.mark.parametrize("data", ["ü" * 50_000, b"\x00" * 20_000], ids=["text", "bytes"])
def test_the_pieces_of_a_large_payload_are_its_frame(data: str | bytes) -> None:
    payload = Payload(data)
    assert b"".join(payload.pieces) == Payload(data).encode()
    assert payload.pieces is payload.pieces
    if isinstance(data, bytes):
        assert payload.pieces[1] is data


@pytest.mark.parametrize(("value", "code"), [(True, 1000), (1000, 1000), (1013, 1013), (3000, 3000), (4999, 4999)])
def test_close_names_its_code(value: object, code: int) -> None:
    assert Reply({"close": value}).close == code


@pytest.mark.parametrize("value", [None, False, 0])
def test_close_may_be_left_out(value: object) -> None:
    assert Reply({"close": value}).close is None


@pytest.mark.parametrize("value", [1, 999, 1005, 1006, 1015, 1500, 2999, 5000, -1, "1000", 1000.0])
def test_a_code_that_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(BadReply, match="is not a close code; use True, 1000 or 3000 to 4999"):
        Reply({"close": value})


@pytest.mark.parametrize(
    ("message", "is_refusal"),
    [
        ({"accept": False}, True),
        ({"accept": False, "text": 5}, True),
        ({"close": True}, True),
        ({"close": 1}, True),
        ({"close": 4000, "text": "", "bytes": b""}, True),
        ({"close": True, "text": "bye"}, False),
        ({"close": True, "accept": True}, False),
        ({"close": 0}, False),
        ({"text": ""}, False),
        ({}, False),
    ],
)
def test_what_refuses_a_handshake(message: dict[str, object], is_refusal: bool) -> None:
    assert refuses(message) is is_refusal


def test_both_text_and_bytes_are_refused() -> None:
    with pytest.raises(BadReply, match="both text and bytes"):
        Reply({"text": "a", "bytes": b"a"})


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({"text": "a", "bytes": None}, "a"),
        ({"text": None, "bytes": b"a"}, b"a"),
        ({"text": "", "bytes": b"a"}, b"a"),
        ({"text": ""}, ""),
        ({"bytes": b""}, b""),
    ],
)
def test_an_empty_or_missing_half_does_not_count(message: dict[str, object], data: object) -> None:
    payload = Reply(message).payload
    assert payload is not None
    assert payload.data == data


@pytest.mark.parametrize(
    "message", [{"text": b"a"}, {"bytes": "a"}, {"accept": "yes"}, {"text": 5}, {"subprotocol": 1}]
)
def test_a_wrong_type_is_refused_with_its_key(message: dict[str, object]) -> None:
    with pytest.raises(BadReply, match=next(iter(message))):
        Reply(message)


def test_a_reason_goes_with_a_close() -> None:
    assert Reply({"close": 4000, "reason": "because"}).reason == "because"
    assert Reply({"close": True}).reason == ""
    assert Reply({"text": "x", "reason": "because"}).reason == ""
    assert Reply({"close": True, "reason": "ü" * 61}).reason == "ü" * 61


@pytest.mark.parametrize("reason", ["x" * 124, "ü" * 62, b"bytes", 1])
def test_a_reason_that_a_close_frame_cannot_hold_is_refused(reason: object) -> None:
    with pytest.raises(BadReply, match="'reason' is"):
        Reply({"close": True, "reason": reason})


@pytest.mark.parametrize("message", [{"data": "x"}, {"json": {}, "type": "x"}])
def test_a_reply_with_none_of_the_known_keys_is_refused_by_their_names(message: dict[str, object]) -> None:
    with pytest.raises(
        BadReply, match="the keys of a reply are accept, text, bytes, close, reason, subprotocol"
    ) as caught:
        Reply(message)
    assert all(repr(key) in str(caught.value) for key in message)


@pytest.mark.parametrize("message", [{}, {"text": None}, {"text": "x", "data": 1}, {"close": False}, {"reason": "x"}])
def test_a_reply_with_one_of_them_is_taken(message: dict[str, object]) -> None:
    assert Reply(message)
