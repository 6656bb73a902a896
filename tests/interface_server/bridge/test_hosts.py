"""Workers that host applications: their heartbeats, and what they are answered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from channel_layer.codec import unpack_body
from channel_layer.exceptions import LayerUnavailable
from interface_server.bridge.hosts import GUESTS_AT_A_TIME, SILENT_SECONDS, TRUST_SECONDS, Hosts
from tests.interface_server.fakes import RecordingUplink
from workers.instances import DOUBT_SECONDS


class Guest:
    waits = False

    def __init__(self, local: str = "c", epoch: int = 0) -> None:
        self.tenancy = local, epoch
        self.losses = 0

    def lease_lost(self, begun_until: float) -> None:
        self.losses += 1
        self.begun_until = begun_until


class Case:
    """Ticks come each second."""

    def __init__(self) -> None:
        self.uplink = RecordingUplink()
        self.connections: dict[str, Any] = {}
        self.hosts = Hosts("daphne.x!", self.uplink, self.connections)
        self.now = 100.0
        self.hosts.tick(self.now)

    def pass_by(self, seconds: float, *alive: str) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            for worker in alive:
                self.hosts.hear({"lease": worker}, {}, self.now)
            self.hosts.tick(self.now)

    def guest(self, worker: str, local: str = "c", epoch: int = 0) -> Guest:
        guest = Guest(local, epoch)
        self.hosts.enter(worker, guest, self.now)
        return guest

    @property
    def said(self) -> list[tuple[str, dict[str, object]]]:
        return [(entry.item.target, unpack_body(entry.item.body)) for entry in self.uplink.entries]


def test_a_worker_that_gives_no_heartbeat_is_gone_with_all_that_it_hosts() -> None:
    case = Case()
    first, second, other = case.guest("worker.a!1"), case.guest("worker.a!2"), case.guest("worker.b!1")
    case.pass_by(SILENT_SECONDS, "worker.b!0")
    assert first.losses == 0
    case.pass_by(1, "worker.b!0")
    assert (first.losses, second.losses, other.losses) == (1, 1, 0)
    assert first.begun_until == 100 + TRUST_SECONDS > 100 + DOUBT_SECONDS


def test_a_worker_that_is_gone_is_told_once_of_all_its_connections_and_those_that_wait_go_on_first() -> None:
    case = Case()
    guests = [case.guest(f"worker.a!{number}", f"c{number}", number) for number in range(GUESTS_AT_A_TIME + 1)]
    order: list[Guest] = []
    for guest in guests:
        guest.lease_lost = lambda begun_until, guest=guest: order.append(guest)  # type: ignore[method-assign,misc]
    guests[7].waits = True
    case.pass_by(SILENT_SECONDS + 1)
    assert [target for target, _ in case.said] == ["worker.a!shared"] * 2
    gone: dict[str, int] = {}
    for _, message in case.said:
        assert message["server"] == "daphne.x!"
        gone |= message["gone"]  # type: ignore[arg-type]
    assert gone == {f"c{number}": number for number in range(GUESTS_AT_A_TIME + 1)}
    assert order[0] is guests[7]
    assert len(order) == len(guests)


def test_a_connection_that_has_left_loses_nothing() -> None:
    case = Case()
    stays, leaves = case.guest("worker.a!1"), case.guest("worker.a!2")
    case.hosts.leave("worker.a!2", leaves)
    case.pass_by(SILENT_SECONDS + 1)
    assert (stays.losses, leaves.losses) == (1, 0)


def test_nobody_is_gone_for_a_hold_up_of_this_process_or_of_the_layer() -> None:
    case = Case()
    guest = case.guest("worker.a!1")
    case.now += 60
    case.hosts.tick(case.now)
    case.uplink.down = LayerUnavailable("here", "away")
    case.pass_by(60)
    case.uplink.down = None
    case.pass_by(SILENT_SECONDS)
    assert guest.losses == 0
    case.pass_by(1)
    assert guest.losses == 1


def test_who_asks_is_answered_with_the_number_of_the_question() -> None:
    case = Case()
    case.hosts.hear({"lease": "worker.a!0", "flow": "worker.a!0", "turn": 7}, {}, case.now)
    assert case.said == [("worker.a!0", {"server": "daphne.x!", "asked": 7})]


def test_who_asks_about_leases_is_answered_with_those_that_it_has_no_more() -> None:
    case = Case()
    for name, hands in (("same", 1), ("moved", 2), ("another", 0)):
        case.connections[name] = SimpleNamespace(has_moved_on=lambda epoch, hands=hands: hands > epoch)
    case.hosts.hear({"flow": "worker.a!0"}, {"leases": {"same": 1, "moved": 1, "closed": 0}}, case.now)
    assert case.said == [
        ("worker.a!0", {"server": "daphne.x!", "asked": 0, "closed": ["closed"], "gone": {"moved": 1}})
    ]


def test_nothing_is_answered_before_it_is_certain_that_lost_leases_were_told() -> None:
    case = Case()
    case.hosts.dismiss("worker.a!1")
    case.hosts.dismiss("worker.a!2")
    case.hosts.hear({"flow": "worker.a!0", "turn": 1}, {}, case.now)
    case.hosts.hear({"flow": "worker.b!0", "turn": 2}, {}, case.now)
    assert [target for target, _ in case.said] == ["worker.a!1", "worker.a!2", "worker.b!0"]
    case.hosts.sent(case.uplink.entries[0].item)
    case.hosts.refused(case.uplink.entries[1].item, LayerUnavailable("here", "an answer was lost"))
    assert case.said[-1] == ("worker.a!2", {"gone": True})
    case.hosts.sent(case.uplink.entries[-1].item)
    assert case.said[-1] == ("worker.a!0", {"server": "daphne.x!", "asked": 1})


def test_what_finds_no_room_in_the_uplink_is_told_later() -> None:
    case = Case()
    case.uplink.accepts = False
    case.hosts.dismiss("worker.a!1")
    case.uplink.accepts = True
    case.pass_by(1)
    assert case.said == [("worker.a!1", {"gone": True})]
