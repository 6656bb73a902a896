"""`channel_layer.messages` and `Headers`: the keys that the reference documents, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from channel_layer import messages
from channel_layer.delivery import Headers

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference/messages.md"

SECTIONS: dict[str, Any] = {
    "http-request": messages.RequestMessage,
    "http-request-body": messages.RequestBodyMessage,
    "http-response": messages.ResponseMessage,
    "http-disconnect": messages.RequestEndMessage,
    "websocket-connect": messages.ConnectMessage,
    "websocket-receive": messages.ReceiveMessage,
    "websocket-disconnect": messages.DisconnectMessage,
    "websocket-send": messages.SocketReply,
    "asgi-delay": messages.DelayMessage,
    "headers": Headers,
    "http-response-flow": messages.ResponseReport,
}


def documented(section: str) -> set[str]:
    """The keys in the tables of a section."""
    _, _, behind = REFERENCE.read_text().partition(f"\n({section})=\n")
    rows = re.split(r"^\([a-z-]+\)=$", behind, maxsplit=1, flags=re.MULTILINE)[0].splitlines()
    return {key for row in rows if row.startswith("| `") for key in re.findall(r"`([a-z_]+)`", row.split("|")[1])}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_message_has_the_keys_that_the_reference_documents(section: str) -> None:
    assert set(SECTIONS[section].__annotations__) == documented(section)


def test_every_section_of_the_reference_has_a_type() -> None:
    # Operators' questions and their answers are in one section, with the keys of several kinds in each table.
    found = re.findall(r"^\(([a-z-]+)\)=$", REFERENCE.read_text(), re.MULTILINE)
    assert set(found) == {*SECTIONS, "questions"}
