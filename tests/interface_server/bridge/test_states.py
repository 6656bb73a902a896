"""`interface_server.bridge.states`: changing, answering, and what is kept of closed connections."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge import states as module
from interface_server.bridge.states import States
from tests.interface_server.fakes import RecordingUplink

Answer = tuple[str, Any]


class Case:
    def __init__(self) -> None:
        self.uplink = RecordingUplink()
        self.layer = MemoryChannelLayer(expiry=60)
        self.states = States(self.layer, self.uplink, 100)  # type: ignore[arg-type]

    def answers(self) -> list[Answer]:
        """Where answers went, and their headers."""
        items = [entry.item for entry in self.uplink.entries]
        self.uplink.entries.clear()
        return [(item.target, item.headers) for item in items]

    def asked_late(self, local: str) -> Any:
        self.states.hear_late(local, {"ask": "answer?x"})
        [(_, headers)] = self.answers()
        return None if headers is None else headers["state"]


def test_changes_are_carried_out_before_a_question_is_answered() -> None:
    case = Case()
    assert case.states.hear({"a": b"1"}, {"state": {"b": b"2"}, "ask": "answer?x"}, "/p") == {"a": b"1", "b": b"2"}
    assert case.answers() == [("answer?x", {"state": {"a": b"1", "b": b"2"}})]
    assert case.states.hear({"a": b"1"}, {"state": {"a": None}}, "/p") is None
    assert case.states.hear(None, {"ask": "answer?x"}, "/p") is None
    assert case.answers() == [("answer?x", {"state": {}})]


@pytest.mark.parametrize("name", [7, "two words", None, "a!b!c"])
def test_a_question_without_a_usable_address_is_logged(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.states.hear(None, {"ask": name}, "/p")
    assert case.answers() == []
    assert "hears nothing" in caplog.text


def test_what_a_closed_connection_kept_stays_as_long_as_a_message_may_wait() -> None:
    case = Case()
    case.states.leave("gone", {"a": b"1"}, now=10.0)
    case.states.leave("empty", None, now=20.0)
    case.states.hear_late("gone", {"turn": 3, "state": {"a": None, "b": b"2"}})
    case.states.tick(69.0)
    assert (case.asked_late("gone"), case.asked_late("empty"), case.asked_late("unknown")) == ({"b": b"2"}, {}, None)
    case.states.tick(70.0)
    assert (case.asked_late("gone"), case.asked_late("empty")) == (None, {})


def test_the_oldest_are_forgotten_when_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1_000)
    case = Case()
    for number in range(4):
        case.states.leave(f"c{number}", {"a": b"x" * 99}, now=1.0)
    assert [case.asked_late(f"c{number}") is not None for number in range(4)] == [False, False, True, True]
