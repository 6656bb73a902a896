"""One message to the applications of many connections."""

from __future__ import annotations

from typing import Any

from channel_layer.codec import unpack_body
from channel_layer.delivery import SHARED
from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.broadcast import Broadcast, Event, Part
from tests.interface_server.fakes import RecordingUplink


class Lease:
    def __init__(self, worker: str) -> None:
        self.worker: str | None = worker
        self.told: list[Any] = []

    def unsent(self, event: Event) -> None:
        self.told.append(("unsent", event.turn))

    def drop(self, item: Any) -> None:
        self.told.append(("drop", item.target))


class Case:
    def __init__(self, content: dict[str, Any], *workers: str) -> None:
        self.uplink = RecordingUplink()
        self.broadcast = Broadcast(MemoryChannelLayer(), self.uplink, 5.0, content)
        self.members = [(Lease(worker), Event(turn, content, 0)) for turn, worker in enumerate(workers, 2)]
        for lease, event in self.members:
            self.broadcast.add(lease.worker or "", lease, event)

    @property
    def told(self) -> list[Any]:
        return [lease.told for lease, _ in self.members]


def test_each_worker_gets_one_message_with_the_instances_and_the_numbers_of_the_event() -> None:
    content = {"type": "chat.message"}
    case = Case(content, "worker.a!1", "worker.b!1", "worker.a!2")
    case.broadcast.send()
    said = {entry.item.target: unpack_body(entry.item.body) for entry in case.uplink.entries}
    assert said == {
        f"worker.a!{SHARED}": {"event": content, "to": [["1", 2], ["2", 4]]},
        f"worker.b!{SHARED}": {"event": content, "to": [["1", 3]]},
    }
    assert [(event.entry is not None, event.since) for _, event in case.members] == [(True, 5.0)] * 3
    case.broadcast.send()
    assert len(case.uplink.entries) == 2


def test_what_finds_no_room_is_left_to_each_connection() -> None:
    case = Case({"type": "chat.message"}, "worker.a!1", "worker.a!2")
    case.uplink.accepts = False
    case.broadcast.send()
    assert case.told == [[("unsent", 2)], [("unsent", 3)]]


def test_what_is_too_large_for_all_together_is_left_to_each_connection() -> None:
    content = {"type": "chat.message", "text": "x" * (MemoryChannelLayer().max_message_size - 50)}
    case = Case(content, *[f"worker.a!{number}" for number in range(40)])
    case.broadcast.send()
    assert case.uplink.entries == []
    assert case.told == [[("unsent", turn)] for turn in range(2, 42)]


def test_if_it_may_be_lost_it_is_for_all() -> None:
    case = Case({"type": "chat.message"}, "worker.a!1", "worker.a!2")
    case.broadcast.send()
    [entry] = case.uplink.entries
    assert entry.sender is not None
    entry.sender.refused(entry.item, LayerUnavailable("here", "an answer was lost"))
    assert case.told == [[("drop", f"worker.a!{SHARED}")]] * 2


def test_what_is_taken_back_before_it_is_written_is_left_to_each_connection() -> None:
    case = Case({"type": "chat.message"}, "worker.a!1", "worker.a!2")
    case.broadcast.send()
    [entry] = case.uplink.entries
    assert isinstance(entry.sender, Part)
    entry.sender.taken_back()
    assert case.told == [[("unsent", 2)], [("unsent", 3)]]
