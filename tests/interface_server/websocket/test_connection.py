"""The states of one WebSocket, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from channel_layer.exceptions import ChannelFull, LayerUnavailable
from channel_layer.state import keeps_state
from interface_server.bridge.replies import Reply
from interface_server.http.exchange import HttpExchange
from interface_server.http.protocol import HttpProtocol
from interface_server.websocket.connection import HELD_REPLIES, Phase, WebSocketConnection
from interface_server.websocket.lease import MOST_WAITING
from interface_server.websocket.protocol import WebSocketProtocol
from tests.interface_server.fakes import FakeSocket, QuietContext, scope
from tests.interface_server.takeover_helpers import Moved
from tests.interface_server.websocket.hosting import OTHER, WORKER, HostedCase

RECEIVE, DISCONNECT = "websocket.receive", "websocket.disconnect"


class Case:
    """A connection, its socket and its context."""

    def __init__(self, accept: bool = True, subprotocols: tuple[str, ...] = (), **options: Any) -> None:
        self.context = QuietContext(**options)
        self.socket = FakeSocket()
        self.connection: WebSocketConnection = WebSocketConnection(
            self.context, scope("websocket", path="/p", scheme="ws", subprotocols=subprotocols), self.socket
        )
        self.connection.open()
        if accept:
            self.reply({"accept": True})
            self.end_turn()
            self.socket.calls.clear()

    def reply(self, message: dict[str, Any], **headers: Any) -> None:
        self.connection.deliver(message, headers or None)

    def end_turn(self, **headers: Any) -> None:
        """The consumer of the last message is done."""
        self.connection.deliver({}, {"turn": self.turn, **headers})

    @property
    def turn(self) -> int:
        return int((self.context.records.entries[-1].item.headers or {}).get("turn", 0))

    def count(self, target: str) -> int:
        return self.context.records.targets.count(target)


@pytest.mark.parametrize("message", [{"accept": True}, {"text": "hi"}, {"bytes": b"hi"}, {"accept": True, "text": ""}])
def test_what_accepts_a_handshake(message: dict[str, Any]) -> None:
    case = Case(accept=False)
    case.reply(message)
    assert case.socket.calls[0] == ("accept", None)
    assert case.connection.phase is Phase.OPEN


@pytest.mark.parametrize(
    "message",
    [
        {"accept": False},
        {"close": True},
        {"close": 4000},
        {"close": 1},
        {"accept": False, "text": "x"},
        {"text": "", "close": True},
        {"bytes": b"", "close": 4000},
    ],
)
def test_what_denies_a_handshake(message: dict[str, Any]) -> None:
    case = Case(accept=False)
    case.reply(message)
    assert case.socket.calls == [("reject", 403)]


def test_a_handshake_is_accepted_with_header_fields() -> None:
    case = Case(accept=False)
    case.reply({"accept": True, "headers": [[b"Set-Cookie", b"a=b"]]})
    assert case.socket.calls == [("accept", None, (b"Set-Cookie", b"a=b"))]


def test_fields_that_must_not_go_out_are_named_and_accept_nothing(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(accept=False)
    case.reply({"accept": True, "headers": [[b"a", b"b\r\nc: d"]]})
    assert (case.socket.calls, case.connection.phase) == ([], Phase.HANDSHAKE)
    assert "a reply to the WebSocket /p was ignored: header b'a' holds a control character" in caplog.text


def test_a_handshake_is_denied_with_a_response() -> None:
    case = Case(accept=False)
    case.reply({"accept": False, "status": 401, "headers": [["a", "b"]], "content": b"who?"})
    assert case.socket.calls == [("reject", 401, [(b"a", b"b")], b"who?")]


@pytest.mark.parametrize("wrong", [{"status": 101}, {"status": 401, "headers": [["a", "\n"]]}], ids=str)
def test_a_response_that_cannot_go_out_is_named_and_becomes_403(
    wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(accept=False)
    case.reply({"accept": False, **wrong})
    assert case.socket.calls == [("reject", 403)]
    assert "cannot go out, the client gets 403" in caplog.text


@pytest.mark.parametrize(
    "message",
    [{}, {"accept": None}, {"close": False}, {"text": None, "bytes": None}, {"text": ""}, {"bytes": b""}, {"other": 1}],
)
def test_what_leaves_a_handshake_waiting(message: dict[str, Any]) -> None:
    case = Case(accept=False)
    case.reply(message)
    assert case.socket.calls == []
    assert case.connection.phase is Phase.HANDSHAKE


def test_the_end_of_a_turn_alone_does_not_accept() -> None:
    case = Case(accept=False)
    case.end_turn()
    assert case.socket.calls == []


def test_text_and_close_in_the_handshake_accept_send_and_close() -> None:
    case = Case(accept=False)
    case.reply({"text": "bye", "close": 4001})
    assert case.socket.calls == [("accept", None), ("send", "bye"), ("close", 4001)]


def test_a_message_with_both_text_and_bytes_is_ignored_whole(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.reply({"text": "a", "bytes": b"a", "close": True})
    assert case.socket.calls == []
    assert "both text and bytes" in caplog.text


def test_a_message_of_the_wrong_types_is_ignored_but_ends_its_turn() -> None:
    case = Case()
    case.connection.received("one")
    case.connection.received("two")
    case.connection.deliver({"text": 5}, {"turn": case.turn})
    assert case.socket.calls == []
    assert case.count(RECEIVE) == 2


def test_frames_go_out_one_turn_at_a_time_and_the_disconnect_last() -> None:
    case = Case()
    for text in ("one", "two"):
        case.connection.received(text)
    case.connection.lost(1001)
    assert case.count(RECEIVE) == 1
    case.end_turn()
    assert case.count(RECEIVE) == 2
    assert case.count(DISCONNECT) == 0
    case.end_turn()
    assert case.context.messages_on(DISCONNECT)[0]["code"] == 1001
    assert [message["order"] for message in case.context.messages_on(RECEIVE)] == [1, 2]
    assert case.context.messages_on(DISCONNECT)[0]["order"] == 3
    assert case.context.connections == {}


def test_a_stale_or_foreign_turn_number_ends_nothing() -> None:
    case = Case()
    case.connection.received("one")
    case.connection.received("two")
    for stale in (case.turn - 1, case.turn + 1, None, "2"):
        case.connection.deliver({}, {"turn": stale})
    assert case.count(RECEIVE) == 1
    case.end_turn()
    assert case.count(RECEIVE) == 2


def test_state_is_sent_along_until_it_is_changed_or_emptied() -> None:
    case = Case()
    case.connection.received("one")
    case.end_turn(state={"a": b"1", "b": b"2"})
    case.connection.received("two")
    assert case.context.records.entries[-1].item.headers["state"] == {"a": b"1", "b": b"2"}
    case.end_turn()
    case.connection.received("three")
    assert case.context.records.entries[-1].item.headers["state"] == {"a": b"1", "b": b"2"}
    case.end_turn(state={"a": None, "b": b"3"})
    case.connection.received("four")
    assert case.context.records.entries[-1].item.headers["state"] == {"b": b"3"}
    case.end_turn(state={"b": None})
    case.connection.received("five")
    assert "state" not in case.context.records.entries[-1].item.headers


def test_state_may_change_without_a_turn_and_between_turns_nothing_is_lost() -> None:
    case = Case()
    case.connection.received("one")
    case.reply({}, state={"a": b"from elsewhere"})
    case.reply({}, turn=case.turn + 1, state={"c": b"late"})
    case.end_turn(state={"b": b"from the turn"})
    case.connection.received("two")
    kept = {"a": b"from elsewhere", "b": b"from the turn", "c": b"late"}
    assert case.context.records.entries[-1].item.headers["state"] == kept
    case.reply({}, ask="answer?x")
    assert case.context.records.entries[-1].item.headers == {"state": kept}
    assert case.context.records.targets[-1] == "answer?x"


def test_state_of_a_closed_connection_can_be_asked_for_and_changed() -> None:
    case = Case()
    case.connection.received("one")
    case.end_turn(state={"a": b"1"})
    case.connection.lost(1001)
    local = case.connection.channel.partition("!")[2]
    assert local not in case.context.connections
    case.context.states.hear_late(local, {"turn": case.turn, "state": {"b": b"2"}})
    case.context.states.hear_late(local, {"ask": "answer?x"})
    assert case.context.records.entries[-1].item.headers == {"state": {"a": b"1", "b": b"2"}}


@pytest.mark.parametrize("unordered", [False, True])
def test_messages_tell_where_the_application_is_mounted(unordered: bool) -> None:
    case = Case(unordered=unordered, root_path="/app")
    case.connection.received("one")
    assert case.context.records.entries[-1].item.headers["root_path"] == "/app"
    case = Case(unordered=unordered)
    case.connection.received("one")
    assert "root_path" not in (case.context.records.entries[-1].item.headers or {})


def test_only_connections_that_carry_state_say_so_in_their_name() -> None:
    assert keeps_state(Case().connection.channel)
    assert not keeps_state(Case(unordered=True).connection.channel)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"a": b"x" * 4}, "it is 5 bytes, allowed are 4 bytes"),
        (b"junk", "it is bytes, it must be a dict of bytes"),
        ({"a": "text"}, "the value of 'a' is str; keys are text and values are bytes"),
    ],
)
def test_state_that_is_too_large_or_no_bytes_is_logged_and_not_kept(
    state: Any, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(state_max=4)
    case.connection.received("m")
    case.end_turn(state=state)
    assert case.connection._state is None
    assert complaint in caplog.text


def test_a_consumer_that_does_not_finish_holds_the_next_message_for_so_long_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = Case(turn_timeout=30)
    case.connection.received("one")
    case.connection.received("two")
    case.context.records.entries[-1].stored_at = 1.0
    case.context.now = 2.0
    case.connection.deliver({}, {"begun": case.turn, "seconds": 1.0})
    case.connection.tick(30.9)
    assert case.count(RECEIVE) == 1
    case.connection.tick(31)
    assert case.count(RECEIVE) == 2
    assert "did not finish in time" in caplog.text


def test_a_notice_of_another_turn_changes_nothing() -> None:
    case = Case(turn_timeout=30)
    case.connection.received("one")
    for headers in ({"begun": case.turn - 1, "seconds": 1}, {"later": case.turn + 1}, {"begun": "2"}, {}):
        case.connection.deliver({}, headers)
    assert case.connection._slow is None


def test_what_is_read_ahead_is_counted_over_all_sockets() -> None:
    case = Case(uplink_bytes=1_000)
    case.connection.received("first")
    case.connection.received("x" * 900)
    assert case.context.read_ahead == 900
    assert case.socket.calls == []
    other = Case(uplink_bytes=1_000)
    other.connection._context = case.context
    other.connection.received("first")
    other.connection.received("x" * 101)
    assert other.socket.calls == [("pause",)]
    case.end_turn()
    assert case.context.read_ahead == 101
    other.connection.close(1000)
    assert case.context.read_ahead == 101
    other.connection.disown()
    assert case.context.read_ahead == 0


def test_an_uplink_that_is_full_closes_with_1013() -> None:
    case = Case()
    case.context.records.accepts = False
    case.connection.received("x")
    assert case.socket.calls == [("close", 1013)]


def test_a_refused_connect_is_a_503_without_disconnect() -> None:
    case = Case(accept=False)
    case.connection.refused(case.context.records.entries[0].item, ChannelFull("websocket.connect"))
    assert case.socket.calls == [("reject", 503)]
    assert case.count(DISCONNECT) == 0
    assert case.context.connections == {}


def test_a_connect_that_was_answered_although_it_seemed_lost_ends_its_turn_and_no_socket() -> None:
    case = Case(accept=False)
    case.reply({"accept": True})
    case.connection.received("x")  # waits for the end of the turn
    case.connection.refused(case.context.records.entries[0].item, LayerUnavailable("redis", "cut", uncertain=True))
    assert case.socket.calls == [("accept", None)]
    assert case.connection.phase is Phase.OPEN
    assert case.count(RECEIVE) == 1


def test_nobody_accepting_in_time_is_a_503_and_a_disconnect() -> None:
    case = Case(accept=False, accept_timeout=5)
    case.connection.tick(5)
    assert case.socket.calls == [("reject", 503)]
    case.reply({"accept": True})
    assert case.socket.calls == [("reject", 503)]
    case.end_turn()
    assert case.count(DISCONNECT) == 1


def test_a_client_that_leaves_during_the_handshake_is_told_to_consumers() -> None:
    case = Case(accept=False)
    case.connection.lost(1006)
    case.reply({"accept": True})
    assert case.socket.calls == []
    case.end_turn()
    assert case.context.messages_on(DISCONNECT)[0]["code"] == 1006


def test_however_often_it_ends_there_is_one_disconnect() -> None:
    case = Case()
    case.connection.close(4000)
    case.connection.lost(1006)
    case.connection.close(4001)
    case.connection.stop()
    case.connection.release()
    assert case.socket.calls == [("close", 4000)]
    assert [message["code"] for message in case.context.messages_on(DISCONNECT)] == [4000]


def test_after_the_close_nothing_is_sent_and_nothing_taken() -> None:
    case = Case()
    case.connection.received("held")
    case.connection.close(4000)
    case.connection.received("late")
    case.reply({"text": "late"})
    assert case.socket.calls == [("close", 4000)]
    case.end_turn()
    assert case.count(RECEIVE) == 1


def test_a_client_that_does_not_take_what_it_is_sent_is_closed() -> None:
    case = Case()
    case.socket.has_room = False
    case.reply({"text": "x"})
    assert case.socket.calls == [("send", "x"), ("close", 1013)]


def test_reading_stops_while_much_waits_and_goes_on_afterwards() -> None:
    case = Case()
    case.connection.received("first")
    case.connection.received("x" * 70_000)
    assert ("pause",) in case.socket.calls
    case.end_turn()
    assert ("resume",) in case.socket.calls


def test_many_small_frames_stop_reading_too() -> None:
    case = Case()
    for _ in range(100):
        case.connection.received("")
    assert ("pause",) in case.socket.calls


def test_releasing_sends_what_is_left_without_waiting() -> None:
    case = Case()
    for text in ("one", "two", "three"):
        case.connection.received(text)
    case.connection.stop()
    assert case.count(RECEIVE) == 1
    case.connection.release()
    assert case.count(RECEIVE) == 3
    assert case.context.messages_on(DISCONNECT)[0]["code"] == 1012


def test_stopping_during_the_handshake_is_a_503() -> None:
    case = Case(accept=False)
    case.connection.stop()
    assert case.socket.calls == [("reject", 503)]


def test_a_socket_ends_with_its_life() -> None:
    case = Case(websocket_life=100)
    case.connection.tick(99)
    assert case.socket.calls == []
    case.connection.tick(100)
    assert case.socket.calls == [("close", 1001)]


def test_unordered_frames_do_not_wait_but_their_number_is_bounded() -> None:
    case = Case(unordered=True)
    for number in range(30):
        case.connection.received(str(number))
    assert case.count(RECEIVE) == 16
    assert case.context.records.entries[-1].item.headers is None
    case.connection.sent(case.context.records.entries[-1].item)
    assert case.count(RECEIVE) == 17


def test_a_consumer_may_choose_a_subprotocol_that_was_offered() -> None:
    case = Case(accept=False, subprotocols=("a", "b"))
    case.reply({"accept": True, "subprotocol": "b"})
    assert case.socket.calls == [("accept", "b")]


def test_a_subprotocol_that_was_not_offered_is_not_agreed_on(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(accept=False, subprotocols=("a",))
    case.reply({"accept": True, "subprotocol": "c"})
    assert case.socket.calls == [("accept", None)]
    assert "'c', which the client did not offer" in caplog.text


def test_a_reply_through_a_group_is_the_same_as_one_of_its_own() -> None:
    case = Case()
    case.connection.apply(Reply({"text": "all"}))
    assert case.socket.calls == [("send", "all")]


def test_a_message_through_a_group_lets_nobody_in() -> None:
    case = Case(accept=False)
    case.connection.apply(Reply({"text": "for members"}))
    case.connection.apply(Reply({"accept": True}))
    assert case.socket.calls == []
    case.reply({"accept": False})
    assert case.socket.calls == [("reject", 403)]


def test_messages_through_groups_wait_for_the_handshake() -> None:
    case = Case(accept=False)
    case.connection.apply(Reply({"text": "one"}))
    case.connection.apply(Reply({"text": "two"}))
    case.reply({"accept": True, "text": "welcome"})
    assert case.socket.calls == [("accept", None), ("send", "welcome"), ("send", "one"), ("send", "two")]
    case.connection.apply(Reply({"text": "three"}))
    assert case.socket.calls[-1] == ("send", "three")


def test_only_so_many_messages_wait_for_a_handshake(caplog: pytest.LogCaptureFixture) -> None:
    case = Case(accept=False)
    for number in range(HELD_REPLIES + 1):
        case.connection.apply(Reply({"text": str(number)}))
    case.reply({"accept": True})
    assert case.socket.calls[1:] == [("send", str(number)) for number in range(HELD_REPLIES)]
    assert "was dropped: the handshake of /p waits" in caplog.text


def test_a_message_too_large_for_the_layer_is_1009() -> None:
    case = Case()
    case.context.layer.max_message_size = 1000
    case.connection.received("x" * 2000)
    assert case.socket.calls == [("close", 1009)]
    case.context.layer.max_message_size = 100_000
    assert case.count(RECEIVE) == 0


def test_a_handshake_whose_consumer_failed_is_refused_at_once() -> None:
    case = Case(accept=False)
    case.end_turn(failed=True)
    assert case.socket.calls == [("reject", 500)]
    assert case.count(DISCONNECT) == 1


def test_an_open_connection_outlives_a_consumer_that_failed() -> None:
    case = Case()
    case.connection.received("x")
    case.end_turn(failed=True)
    case.connection.received("y")
    assert case.count(RECEIVE) == 2
    assert case.connection.phase is Phase.OPEN


def test_an_application_is_hosted_from_the_first_word_of_its_worker() -> None:
    case = HostedCase(taken=False)
    case.say({}, lease=WORKER)
    case.say({"accept": True, "subprotocol": None})
    case.say({"text": "hello"}, turn=1)
    assert case.socket.calls == [("accept", None), ("send", "hello")]
    case.connection.received("one")
    assert case.events() == [{"type": RECEIVE, "text": "one"}]
    assert case.context.records.targets.count(RECEIVE) == 0


def test_what_an_application_says_that_lost_its_lease_is_not_heard_and_it_is_told_so() -> None:
    case = HostedCase()
    case.connection.received("one")
    case.connection.lease_lost()
    case.context.records.entries.clear()
    for message, more in (({"text": "late"}, {"turn": 2}), ({"close": 4000}, {}), ({}, {"lease": None, "ended": True})):
        case.connection.deliver(message, {"epoch": 0, **more})
    assert case.socket.calls == []
    case.connection.deliver({}, {"epoch": 0, "lease": "worker.c!9"})
    assert case.events("worker.c!9") == [{"gone": True}]


def test_an_instance_of_fewer_changes_of_hands_than_there_were_has_lost_the_connection() -> None:
    case = HostedCase(taken=False)
    assert not case.connection.has_moved_on(0)
    case.say({}, lease=WORKER)
    assert not case.connection.has_moved_on(0)
    case.connection.lease_lost()
    assert case.connection.has_moved_on(0)
    assert not case.connection.has_moved_on(1)


@pytest.mark.parametrize(("headers", "status"), [({}, 500), ({"failed": True}, 500)], ids=str)
def test_an_application_that_ends_without_an_answer_to_the_handshake(headers: dict[str, Any], status: int) -> None:
    case = HostedCase(accept=False)
    case.say({}, lease=None, turn=1, ended=True, **headers)
    assert case.socket.calls == [("reject", status)]
    assert case.context.connections == {}
    assert case.turns() == []


def test_an_application_denies_a_handshake_and_hears_of_its_end() -> None:
    case = HostedCase(accept=False)
    case.say({"close": 1000})
    assert case.socket.calls == [("reject", 403)]
    assert [event["type"] for event in case.events()] == [DISCONNECT]
    case.say({}, turn=2, lease=None, ended=True)
    assert case.context.connections == {}


def test_a_worker_that_cannot_wait_for_the_answer_to_a_handshake_denies_nothing_for_the_application() -> None:
    case = HostedCase(accept=False)
    case.say({"close": 1012, "reason": "service restart"}, turn=0, lease=None, ended=True)
    assert case.socket.calls == [("reject", 503)]


@pytest.mark.parametrize(("headers", "code"), [({}, 1000), ({"failed": True}, 1011)], ids=str)
def test_an_application_that_ends_closes_its_socket(headers: dict[str, Any], code: int) -> None:
    case = HostedCase()
    case.connection.received("one")
    case.connection.received("two")
    case.say({}, turn=2, lease=None, ended=True, **headers)
    assert case.socket.calls == [("close", code)]
    assert case.context.connections == {}
    assert (case.resumes(), case.context.read_ahead) == ([], 0)


def test_a_client_that_leaves_before_its_handshake_is_taken_is_reported_once_it_is() -> None:
    case = HostedCase(taken=False)
    case.connection.lost(1001)
    assert case.context.messages_on(DISCONNECT) == []
    case.say({}, lease=WORKER)
    assert [(event["type"], event["code"]) for event in case.events()] == [(DISCONNECT, 1001)]
    case.say({}, turn=2, lease=None, ended=True)
    assert case.context.connections == {}


def test_the_client_leaves_behind_its_frames_and_only_once() -> None:
    case = HostedCase()
    case.connection.received("one")
    case.connection.lost(1001, "bye")
    case.connection.lost(1006)
    assert [event["type"] for event in case.events()] == [RECEIVE, DISCONNECT]
    assert case.events()[-1] == {"type": DISCONNECT, "code": 1001, "reason": "bye"}
    case.say({}, turn=2)
    assert case.context.connections != {}
    case.say({}, turn=3)
    assert case.context.connections == {}


def test_a_client_that_is_too_fast_for_its_application_is_not_read_until_that_has_caught_up() -> None:
    case = HostedCase()
    case.connection.received("x" * 70_000)
    case.connection.received("y")
    assert case.socket.calls == [("pause",)]
    case.say({}, turn=2)
    assert case.socket.calls == [("pause",)]
    case.say({}, turn=3)
    assert case.socket.calls == [("pause",), ("resume",)]
    assert case.context.read_ahead == 0


def test_a_client_is_read_again_although_its_groups_are_never_quiet() -> None:
    case = HostedCase()
    case.connection.received("x" * 70_000)
    for turn in range(3, 10):
        case.connection.take({"type": "chat.message"})
        case.say({}, turn=turn - 1)
    assert case.socket.calls == [("pause",), ("resume",)]


def test_a_client_is_read_again_when_the_frame_that_filled_the_window_died_with_its_worker() -> None:
    case = HostedCase()
    case.connection.received("x" * 70_000)
    case.connection.lease_lost()
    assert case.socket.calls == [("pause",), ("resume",)]


def test_messages_for_an_application_that_waits_for_its_handshake_come_behind_connect() -> None:
    case = HostedCase(taken=False)
    case.connection.deliver({"type": "chat.message", "n": 1}, None)
    assert case.events() == []
    case.say({}, lease=WORKER)
    assert case.events() == [{"type": "chat.message", "n": 1}]


def test_so_many_messages_as_would_fill_a_channel_wait_for_an_application(caplog: pytest.LogCaptureFixture) -> None:
    case = HostedCase()
    for _ in range(MOST_WAITING + 1):
        case.connection.take({"type": "chat.message"})
    assert "was dropped: too many wait" in caplog.text
    case.say({}, turn=1 + MOST_WAITING)
    assert case.lease.is_idle


def test_a_message_with_a_type_means_nothing_to_a_consumer_of_channels_1(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.connection.deliver({"type": "chat.message"}, None)
    assert "no application of Channels 2 to 4 is behind the WebSocket /p" in caplog.text


def test_a_socket_whose_application_died_and_cannot_go_on_has_to_connect_again() -> None:
    case = HostedCase()
    case.say({}, turn=1, checkpoint=None)
    case.connection.received("one")
    case.connection.lease_lost()
    assert case.socket.calls == [("close", 1012)]
    assert (case.resumes(), case.context.connections, case.context.read_ahead) == ([], {}, 0)


def test_a_closed_connection_whose_last_event_died_with_the_worker_is_left() -> None:
    case = HostedCase()
    case.connection.lost(1001)
    case.connection.lease_lost()
    assert case.context.connections == {}


def test_a_frame_that_cannot_be_carried_closes_the_socket_and_the_application_hears_of_that() -> None:
    case = HostedCase()
    case.connection.received("x" * 2_000_000)
    assert case.socket.calls == [("close", 1009)]
    assert [(event["type"], event["code"]) for event in case.events()] == [(DISCONNECT, 1009)]


def test_a_layer_that_takes_no_events_ends_the_connection_but_keeps_its_end_for_the_application() -> None:
    case = HostedCase(outage_timeout=5)
    case.connection.received("one")
    frame = case.context.records.entries[-1]
    case.connection.tick(case.context.now + 10)
    assert frame.cancelled
    assert case.socket.calls == [("close", 1013)]
    assert case.events()[-1]["type"] == DISCONNECT
    assert (case.context.connections, case.context.read_ahead) == ({}, 0)
    case.connection.lost(1006)
    assert [event["type"] for event in case.events()].count(DISCONNECT) == 1


def test_an_application_hears_that_others_took_the_server_for_gone() -> None:
    case = HostedCase()
    case.connection.disown()
    assert case.socket.calls == [("close", 1012)]
    assert [(event["type"], event["code"]) for event in case.events()] == [(DISCONNECT, 1012)]
    case.say({}, turn=2)
    assert case.context.connections == {}


def test_an_operator_sees_whose_application_it_is_and_what_it_is_at() -> None:
    case = HostedCase(trace_events=True)
    case.say({}, user="ada", consumer="app.Chat")
    case.context.now += 5
    facts = case.connection.facts()
    assert (facts["user"], facts["worker"], facts["age"], facts["state"]) == ("ada", "worker.a", 5.0, "open")
    assert case.connection.details()["turn"] is None
    case.connection.received("hello")
    case.store()
    case.context.now += 2
    details = case.connection.details()
    assert details["turn"] == {"number": 2, "seconds": 2.0, "stored": True, "consumer": "app.Chat"}
    assert details["consumer"] == "app.Chat"
    case.say({"text": "hi"}, turn=2)
    case.connection.take({"type": "chat.news"})
    case.say({}, lease=OTHER)
    assert [word for _, word, _ in case.connection.details()["events"] or ()] == [
        "worker changed",
        "opened",
        "frame from client",
        "frame to client",
        "event for application",
        "worker changed",
    ]
    assert case.connection.facts()["worker"] == "worker.b"


@pytest.mark.parametrize("kind", [WebSocketConnection, WebSocketProtocol, HttpExchange, HttpProtocol])
def test_a_connection_needs_no_dict_of_its_own(kind: type) -> None:
    assert kind.__dictoffset__ == 0, "a dict takes up to 1.3 KiB of each connection"


# -- in another process ------------------------------------------------------------------------------


def stored(case: Any) -> None:
    for entry in case.context.records.entries:
        entry.stored_at = entry.stored_at or 1.5


def test_an_idle_connection_goes_on_in_another_process() -> None:
    case = Case()
    case.connection.received("one")
    case.end_turn(state={"key": b"value"})
    stored(case)
    new = Moved(case)
    new.connection.received("two")
    assert new.connection.channel == case.connection.channel
    [entry] = new.context.records.entries
    assert entry.item.headers == {"turn": 3, "state": {"key": b"value"}}
    [message] = new.context.messages_on(RECEIVE)
    assert message == {"reply_channel": case.connection.channel, "path": "/p", "order": 2, "text": "two"}
    new.connection.deliver({"text": "answer"}, {"turn": 3})
    assert new.socket.calls == [("send", "answer")]


def test_a_connection_that_was_given_away_leaves_nothing_behind() -> None:
    case = Case()
    case.connection.received("under way")
    case.connection.received("waits")
    stored(case)
    assert case.context.facts.sockets == {"/p": 1}
    new = Moved(case)
    assert case.context.connections == {}
    assert case.context.read_ahead == 0
    assert case.context.facts.sockets == {"/p": 0}
    assert new.context.facts.sockets == {"/p": 1}
    assert new.context.read_ahead == len("waits")
    case.connection.lost(1006)
    assert case.count(DISCONNECT) == 0


def test_a_turn_under_way_ends_in_the_other_process_and_what_waits_follows() -> None:
    case = Case()
    for text in ("under way", "first", b"second"):
        case.connection.received(text)
    stored(case)
    new = Moved(case)
    assert new.context.records.entries == []
    new.connection.deliver({}, {"turn": 2})
    new.connection.deliver({}, {"turn": 3})
    assert [message.get("text", message.get("bytes")) for message in new.context.messages_on(RECEIVE)] == [
        "first",
        b"second",
    ]
    assert [message["order"] for message in new.context.messages_on(RECEIVE)] == [2, 3]
    new.connection.lost(1001)
    new.connection.deliver({}, {"turn": 4})
    assert new.context.messages_on(DISCONNECT)[0]["order"] == 4


def test_a_frame_that_the_layer_has_not_got_is_sent_by_the_other_process() -> None:
    case = Case()
    stored(case)
    case.connection.received("not yet")
    [*_, before] = case.context.records.entries
    new = Moved(case)
    [entry] = new.context.records.entries
    assert (entry.item.body, entry.item.headers) == (before.item.body, before.item.headers)
    assert entry.sender is new.connection
    new.connection.received("behind it")
    assert len(new.context.records.entries) == 1
    new.connection.deliver({}, {"turn": 2})
    assert new.context.messages_on(RECEIVE)[1]["text"] == "behind it"


def test_unordered_frames_that_the_layer_has_not_got_are_sent_in_order() -> None:
    case = Case(unordered=True)
    stored(case)
    for text in ("a", "b", "c"):
        case.connection.received(text)
    new = Moved(case, unordered=True)
    assert [message["text"] for message in new.context.messages_on(RECEIVE)] == ["a", "b", "c"]
    assert all(entry.report for entry in new.context.records.entries)


def test_a_turn_that_takes_long_is_as_long_in_the_other_process() -> None:
    case = Case(turn_timeout=30)
    case.connection.received("slow")
    stored(case)
    case.connection.deliver({}, {"begun": 2, "seconds": 1.0})
    new = Moved(case, turn_timeout=30)
    new.connection.received("next")
    new.connection.tick(28.0)
    assert new.context.records.entries == []
    new.connection.tick(31.0)
    assert [message["text"] for message in new.context.messages_on(RECEIVE)] == ["next"]


def test_what_a_connection_has_of_its_life_goes_along() -> None:
    case = Case(websocket_life=50)
    stored(case)
    case.context.now = 20.0
    new = Moved(case, websocket_life=50)
    new.connection.tick(49)
    assert new.socket.calls == []
    new.connection.tick(50)
    assert new.socket.calls == [("close", 1001)]


class Transport:
    """A `Socket.direct` that writes down what it is given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closing


def direct_case() -> tuple[Case, Transport]:
    case, transport = Case(accept=False), Transport()
    case.socket.direct = transport
    case.reply({"accept": True})
    case.socket.calls.clear()
    return case, transport


def test_a_message_goes_straight_to_the_transport_and_the_socket_hears_of_what_waits() -> None:
    case, transport = direct_case()
    case.reply({"text": "one"})
    transport.waiting = 5
    case.reply({"text": "two"})
    assert transport.written == [b"\x81\x03one", b"\x81\x03two"]
    assert case.socket.calls == [("queued", b"\x81\x03two", 5)]
    case.socket.has_room = False
    case.reply({"text": "one more"})
    assert case.socket.calls[-1] == ("close", 1013)


@pytest.mark.parametrize("end", ["close", "lost", "stop", "give_away"])
def test_nothing_goes_to_the_transport_of_a_connection_that_is_closed(end: str) -> None:
    case, transport = direct_case()
    ends = {
        "close": lambda: case.reply({"close": True}),
        "lost": lambda: case.connection.lost(1001),
        "stop": case.connection.stop,
        "give_away": lambda: case.connection.give_away([]),
    }
    ends[end]()
    case.connection.apply(Reply({"text": "too late"}))
    assert transport.written == []
    assert ("send", "too late") not in case.socket.calls


def test_what_a_closing_transport_is_sent_is_left_to_the_socket() -> None:
    case, transport = direct_case()
    transport.closing = True
    case.reply({"text": "one"})
    assert transport.written == []
    assert case.socket.calls == [("send", "one")]
