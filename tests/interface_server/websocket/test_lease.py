"""The lease of a WebSocket: who has its events, and who gets them when that worker lets go or is gone."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.delivery import SHARED
from channel_layer.exceptions import LayerUnavailable, MessageTooLarge
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import RESUME
from interface_server.bridge.broadcast import Broadcast
from interface_server.bridge.replies import Reply
from interface_server.websocket import lease as module
from interface_server.websocket.lease import MOST_WAITING, WINDOW
from interface_server.websocket.slow_turns import DIED, EXPIRED, LOST
from tests.interface_server.takeover_helpers import Moved
from tests.interface_server.websocket.hosting import OTHER, WORKER, HostedCase


class Watch:
    """Stands for `SlowTurn`: over when the test says so."""

    reason: str | None = None
    is_lost = False

    def __init__(self, *args: Any) -> None:
        Watch.is_lost = False

    def over(self, now: float) -> str | None:
        return Watch.reason

    def lost(self) -> None:
        Watch.is_lost = True


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> type[Watch]:
    monkeypatch.setattr(module, "SlowTurn", Watch)
    monkeypatch.setattr(Watch, "reason", None)
    return Watch


def handed_back(*texts: str) -> HostedCase:
    """A connection whose worker has let go of it, with frames that it had not begun."""
    case = HostedCase()
    for text in texts:
        case.connection.received(text)
    case.say({}, turn=1, lease=None)
    return case


def test_events_go_to_the_worker_in_one_order_with_their_numbers() -> None:
    case = HostedCase()
    case.connection.received("one")
    case.connection.deliver({"type": "chat.message", "n": 2}, None)
    case.connection.received(b"three")
    assert case.events() == [
        {"type": "websocket.receive", "text": "one"},
        {"type": "chat.message", "n": 2},
        {"type": "websocket.receive", "bytes": b"three"},
    ]
    assert case.turns() == [2, 3, 4]


def test_so_many_events_as_the_window_holds_are_under_way_and_each_end_lets_another_go() -> None:
    case = HostedCase()
    for number in range(WINDOW + 3):
        case.connection.received(str(number))
    assert len(case.turns()) == WINDOW
    case.say({}, turn=3)
    assert len(case.turns()) == WINDOW + 2
    case.say({}, turn=2)  # said late
    assert len(case.turns()) == WINDOW + 2


def test_what_finds_no_room_in_the_uplink_is_tried_again() -> None:
    case = HostedCase()
    case.context.records.accepts = False
    case.connection.received("one")
    assert case.turns() == []
    case.context.records.accepts = True
    case.lease.tick(1.0)
    assert case.turns() == [2]
    case = handed_back()
    case.context.records.accepts = False
    case.connection.received("one")
    case.context.records.accepts = True
    case.lease.tick(1.0)
    [resume] = case.resumes()
    assert resume["events"] == [{"type": "websocket.receive", "text": "one"}]


def test_let_go_without_events_nothing_is_made_until_the_next_one() -> None:
    case = handed_back()
    assert case.resumes() == []
    case.connection.received("one")
    [resume] = case.resumes()
    assert resume["turns"] == [2]
    assert resume["checkpoint"] == b"first"
    assert resume["reply_channel"] == case.connection.channel
    assert case.context.records.entries[-1].item.headers == {"epoch": 1}


def test_unbegun_events_go_on_in_order_the_first_with_the_message_and_the_rest_once_it_is_taken() -> None:
    case = handed_back("one", "two", "three")
    case.connection.received("four")
    [resume] = case.resumes()
    assert (resume["turn"], resume["turns"]) == (1, [2])
    assert case.turns(OTHER) == []
    case.say({}, lease=OTHER)
    assert case.turns(OTHER) == [3, 4, 5]
    case.say({}, turn=5)
    assert case.lease.is_idle


def test_events_that_are_done_with_are_not_sent_again() -> None:
    case = HostedCase()
    for text in ("one", "two"):
        case.connection.received(text)
    case.say({}, turn=2, lease=None, checkpoint=b"second")
    [resume] = case.resumes()
    assert (resume["turns"], resume["checkpoint"]) == ([3], b"second")


def test_begun_anew_it_hears_connect_ahead_of_what_waits_and_has_no_checkpoint() -> None:
    case = HostedCase()
    case.connection.received("one")
    case.say({}, turn=1, lease=None, again=True)
    [resume] = case.resumes()
    assert (resume["turn"], resume["turns"], resume["checkpoint"]) == (0, [1], None)
    assert resume["events"] == [{"type": "websocket.connect"}]
    case.say({}, lease=OTHER)
    assert case.turns(OTHER) == [2]


def test_an_event_that_a_worker_was_sent_too_late_to_have_begun_it_is_not_lost_with_it() -> None:
    case = HostedCase()
    case.context.now = 10.0
    case.connection.received("one")
    case.connection.lease_lost(begun_until=9.0)
    [resume] = case.resumes()
    assert resume["events"] == [{"type": "websocket.receive", "text": "one"}]


def test_a_worker_that_is_gone_takes_the_event_in_hand_with_it_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    case = HostedCase()
    for text in ("one", "two"):
        case.connection.received(text)
    case.connection.lease_lost()
    [resume] = case.resumes()
    assert (resume["turns"], resume["events"]) == ([3], [{"type": "websocket.receive", "text": "two"}])
    assert "with it an event: websocket.receive" in caplog.text
    case.say({}, lease=OTHER)
    case.say({}, turn=3)
    assert case.lease.is_idle
    assert case.context.read_ahead == 0


def test_an_instance_that_nobody_takes_is_waited_for_and_asked_for_again_when_the_message_expires(
    watch: type[Watch],
) -> None:
    case = handed_back("one", "two")
    case.store()
    case.lease.tick(40.0)
    assert len(case.resumes()) == 1
    watch.reason = EXPIRED
    case.lease.tick(70.0)
    first, second = case.resumes()
    assert first["turns"] == second["turns"] == [2]
    assert case.lease.epoch == 2


@pytest.mark.parametrize("reason", [DIED, LOST])
def test_what_a_worker_took_and_did_not_tell_of_counts_as_begun(watch: type[Watch], reason: str) -> None:
    case = handed_back("one", "two")
    case.store()
    watch.reason = reason
    case.lease.tick(40.0)
    assert [resume["turns"] for resume in case.resumes()] == [[2], [3]]


def test_a_handshake_that_died_with_its_worker_is_not_taken_for_one_that_was_heard(watch: type[Watch]) -> None:
    case = HostedCase(accept=False)
    case.say({}, turn=0, lease=None, again=True)
    case.store()
    watch.reason = DIED
    case.connection.tick(10.0)
    assert case.socket.calls == [("reject", 503)]
    assert len(case.resumes()) == 1


def test_a_message_of_unknown_fate_is_not_sent_again_at_once_since_two_instances_would_run(watch: type[Watch]) -> None:
    case = handed_back("one")
    case.connection.refused(case.context.records.entries[-1].item, LayerUnavailable("here", "an answer was lost"))
    case.lease.tick(1.0)
    assert watch.is_lost
    assert len(case.resumes()) == 1
    case.say({}, lease=OTHER)  # a worker has it
    case.connection.tick(50.0)
    case.say({}, turn=2)
    assert case.socket.calls == []
    assert case.lease.is_idle


def test_what_cannot_be_carried_is_refused_when_it_comes_and_leaves_nothing_behind() -> None:
    for case in (HostedCase(), handed_back()):
        with pytest.raises(MessageTooLarge):
            case.lease.put({"type": "websocket.receive", "text": "x" * 2_000_000})
        assert case.lease.is_idle
        case.connection.received("next")
        assert case.turns() == [2] or case.resumes()[0]["turns"] == [2]


def test_an_event_too_large_beside_the_scope_and_the_checkpoint_goes_by_itself() -> None:
    text = "x" * (MemoryChannelLayer().max_message_size - 60)
    case = handed_back()
    case.connection.received(text)
    [resume] = case.resumes()
    assert (resume["turn"], resume["events"]) == (1, [])
    case.say({}, lease=OTHER)
    assert case.turns(OTHER) == [2]


def test_an_end_of_the_application_leaves_nothing_to_be_sent_or_counted() -> None:
    case = HostedCase()
    for text in ("one", "two"):
        case.connection.received(text)
    case.say({}, turn=2, lease=None, ended=True, failed=True)
    assert case.resumes() == []
    assert case.context.read_ahead == 0


def test_a_lost_event_makes_room_for_others() -> None:
    case = HostedCase()
    case.connection.received("one")
    item = case.context.records.entries[-1].item
    case.connection.received("two")
    case.connection.refused(item, LayerUnavailable("here", "an answer was lost"))
    case.say({}, turn=3)
    assert case.lease.is_idle
    assert case.context.read_ahead == 0


def test_it_is_full_when_too_many_events_wait_and_has_room_again_before_the_last_is_done() -> None:
    case = HostedCase()
    for _ in range(MOST_WAITING):
        case.lease.put({"type": "chat.message"})
    assert case.lease.is_full
    assert not case.lease.has_room
    case.say({}, turn=1 + MOST_WAITING // 2)
    assert case.lease.has_room


def test_at_the_end_of_the_server_all_that_waits_is_sent() -> None:
    case = handed_back()
    case.context.records.accepts = False
    for text in ("one", "two"):
        case.connection.received(text)
    case.connection.lost(1001)
    case.context.records.accepts = True
    case.connection.release()
    [resume] = case.resumes()
    assert resume["turns"] == [2, 3, 4]
    assert case.context.records.targets.count(RESUME) == 1
    case = HostedCase()
    for number in range(WINDOW + 2):
        case.connection.received(str(number))
    case.connection.lost(1001)
    case.connection.release()
    assert case.events()[-1] == {"type": "websocket.disconnect", "code": 1001}
    assert case.turns(WORKER) == list(range(2, WINDOW + 5))


def test_an_event_that_goes_to_others_too_keeps_its_place_among_the_own_ones() -> None:
    case = HostedCase()
    case.connection.received("one")
    broadcast = Broadcast(case.context.layer, case.context.uplink, 1.0, {"type": "chat.message"})
    case.connection.take_shared(broadcast)
    broadcast.send()
    case.connection.received("three")
    targets = [entry.item.target for entry in case.context.records.entries]
    assert targets == [WORKER, f"worker.a!{SHARED}", WORKER]
    case.connection.hear_shared(Reply({"text": "heard"}), case.epoch, 3)
    assert case.socket.calls == [("send", "heard")]
    case.connection.hear_shared(Reply({"text": "stale"}), case.epoch + 1, 4)
    assert case.socket.calls == [("send", "heard")]
    assert [event.turn for event in case.lease._events] == [4]


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ({"close": 1000}, ("reject", 403)),
        ({"accept": False, "status": 401, "content": b"who?"}, ("reject", 401, [], b"who?")),
        ({"accept": True, "headers": [[b"a", b"b"]]}, ("accept", None, (b"a", b"b"))),
    ],
    ids=str,
)
def test_applications_answer_several_handshakes_in_the_same_words(message: dict[str, Any], call: Any) -> None:
    case = HostedCase(accept=False)
    case.connection.hear_shared(Reply(message), case.epoch, 1)
    assert case.socket.calls == [call]


def test_an_event_that_did_not_go_with_others_goes_alone() -> None:
    case = HostedCase()
    broadcast = Broadcast(case.context.layer, case.context.uplink, 1.0, {"type": "chat.message"})
    case.connection.take_shared(broadcast)
    case.context.records.accepts = False
    broadcast.send()
    case.context.records.accepts = True
    case.connection.tick(2.0)
    assert case.events() == [{"type": "chat.message"}]


def test_who_gives_up_takes_no_event_back_that_others_wait_for() -> None:
    case = HostedCase(outage_timeout=5)
    broadcast = Broadcast(case.context.layer, case.context.uplink, 1.0, {"type": "chat.message"})
    case.connection.take_shared(broadcast)
    broadcast.send()
    shared = case.context.records.entries[-1]
    case.connection.tick(20.0)
    assert case.socket.calls == [("close", 1013)]
    assert not shared.cancelled


# -- in another process ------------------------------------------------------------------------------


def test_an_instance_stays_where_it_is_and_knows_its_connection_in_another_process() -> None:
    case = HostedCase()
    case.connection.received("under way")
    case.store()
    new = Moved(case)
    assert case.context.hosts.leases() == {}
    assert new.context.hosts.leases() == {"worker.a": 1}
    assert new.context.records.entries == []
    new.connection.received("next")
    [entry] = new.context.records.entries
    assert (entry.item.target, entry.item.headers) == (WORKER, {"turn": 3, "epoch": 0})
    new.connection.deliver({"text": "answer"}, {"epoch": 0, "turn": 3})
    assert new.socket.calls == [("send", "answer")]
    assert new.connection._lease is not None
    assert new.connection._lease.is_idle


def test_events_that_the_layer_has_not_got_are_sent_again_with_their_numbers() -> None:
    case = HostedCase()
    case.store()
    case.connection.received("one")
    case.store()
    case.connection.received("two")
    case.connection.received("three")
    new = Moved(case)
    assert [entry.item.headers for entry in new.context.records.entries] == [
        {"turn": 3, "epoch": 0},
        {"turn": 4, "epoch": 0},
    ]
    assert [message["text"] for message in new.context.messages_on(WORKER)] == ["two", "three"]


def test_a_quiet_application_is_made_again_from_its_checkpoint_in_another_process() -> None:
    case = HostedCase()
    case.say({}, lease=None, checkpoint=b"second")
    case.store()
    new = Moved(case)
    assert new.context.records.entries == []
    new.connection.received("wake up")
    [message] = new.context.messages_on(RESUME)
    assert message["checkpoint"] == b"second"
    assert message["events"] == [{"type": "websocket.receive", "text": "wake up"}]


def test_a_message_that_makes_an_application_again_and_was_not_written_is_made_anew() -> None:
    case = HostedCase()
    case.say({}, lease=None, checkpoint=b"second")
    case.store()
    case.connection.received("wake up")
    new = Moved(case)
    [entry] = new.context.records.entries
    assert entry.item.target == RESUME
    assert entry.item.headers == {"epoch": 2}
    new.connection.deliver({}, {"epoch": 2, "lease": OTHER, "turn": 2})
    assert new.context.hosts.leases() == {"worker.b": 1}


def test_an_application_that_is_being_made_again_is_waited_for_in_another_process() -> None:
    case = HostedCase()
    case.say({}, lease=None, checkpoint=b"second")
    case.connection.received("wake up")
    case.connection.received("and this")
    case.store()
    new = Moved(case)
    assert new.context.records.entries == []
    new.connection.deliver({}, {"epoch": 1, "lease": OTHER})
    [entry] = new.context.records.entries
    assert (entry.item.target, entry.item.headers) == (OTHER, {"turn": 3, "epoch": 1})
