from __future__ import annotations

import pytest

from channel_layer.exceptions import InvalidMessage, MessageTooLarge
from interface_server.http.rules import body_chunk, own_answer, status_of


@pytest.mark.parametrize("status", [400, 408, 413, 500, 503, 504])
def test_an_answer_of_the_server_itself_says_what_is_wrong(status: int) -> None:
    head, text = own_answer(status, 7)
    fields = {field.name: field.value for field in head.fields}
    assert head.status == status
    assert fields.pop(b"content-type") == b"text/plain; charset=utf-8"
    assert fields == ({b"retry-after": b"7"} if status == 503 else {})
    assert text.endswith(b".\n")


def test_a_request_that_no_message_can_carry_has_its_status() -> None:
    assert status_of(MessageTooLarge("c", 2, 1)) == 413
    assert status_of(InvalidMessage("c", "a message is a dict")) == 400


def test_only_the_last_chunk_of_a_body_gives_its_length() -> None:
    assert body_chunk(b"a", True, 1) == {"content": b"a", "closed": False, "more_content": True}
    assert body_chunk(b"b", False, 2) == {"content": b"b", "closed": False, "more_content": False, "length": 2}
