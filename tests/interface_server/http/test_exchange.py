"""The course of one HTTP exchange, without any I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import ChannelFull, LayerUnavailable
from interface_server.bridge.replies import Reply
from interface_server.http.exchange import ExchangePhase, HttpExchange
from tests.interface_server.fakes import FakeWriter, QuietContext, scope

REQUEST, GONE = "http.request", "http.disconnect"


class Case:
    """An exchange, its writer and its context."""

    def __init__(self, body: bytes | None = b"", **options: Any) -> None:
        self.context = QuietContext(**options)
        self.writer = FakeWriter()
        self.exchange: HttpExchange = HttpExchange(self.context, scope(), self.writer)
        if body is not None:
            if body:
                self.exchange.feed(body)
            self.exchange.end()
            self.exchange.begin(len(body))

    @property
    def targets(self) -> list[str]:
        return [target.partition("?")[0] for target in self.context.records.targets]

    @property
    def status(self) -> int:
        return int(next(call[1] for call in self.writer.calls if call[0] == "start"))

    def chunks(self) -> list[dict[str, Any]]:
        channel = next(target for target in self.context.records.targets if target.startswith("http.request.body?"))
        return self.context.messages_on(channel)

    def stored(self) -> None:
        """The uplink stored the chunk at hand."""
        self.exchange.sent(self.context.records.entries[-1].item)


def test_a_request_is_one_message_and_its_answer_ends_it() -> None:
    case = Case(b"body")
    assert case.context.messages_on(REQUEST)[0]["body"] == b"body"
    case.exchange.deliver({"status": 201, "content": b"made"})
    assert case.writer.calls == [("start", 201, b"made", False)]
    assert case.exchange.phase is ExchangePhase.DONE
    assert case.context.connections == {}
    assert case.targets == [REQUEST]


def test_the_end_of_a_complete_answer_is_told_once_somebody_wants_to_know() -> None:
    case = Case()
    case.exchange.deliver({}, {"ends": True})
    case.exchange.deliver({"status": 200, "content": b"ok"})
    assert case.targets == [REQUEST, GONE]
    assert case.context.messages_on(GONE)[0]["path"] == "/p"


def test_a_server_push_is_dropped() -> None:
    case = Case()
    push = {"request": {"path": "/style.css"}}
    case.exchange.deliver(push)
    case.exchange.deliver({"status": 200, "content": b"a", "more_content": True})
    case.exchange.deliver(push)
    case.exchange.deliver({"content": b"b"})
    assert case.writer.calls[0] == ("start", 200, b"a", True)
    assert case.writer.calls[-1] == ("write", b"b", False)
    assert case.exchange.phase is ExchangePhase.DONE


def test_what_comes_after_the_answer_is_nothing() -> None:
    case = Case()
    case.exchange.deliver({"status": 200})
    case.exchange.deliver({"status": 200})
    case.exchange.gone()
    case.exchange.tick(1000)
    case.exchange.fail(500)
    assert len(case.writer.calls) == 1
    assert case.targets == [REQUEST]


def test_an_empty_message_is_no_answer() -> None:
    case = Case()
    case.exchange.deliver({}, {"turn": 1})
    assert case.writer.calls == []


def test_the_request_names_a_flow_channel() -> None:
    case = Case()
    flow = case.context.records.entries[0].item.headers["flow"]
    assert flow.startswith("http.response.flow?")


def test_a_body_over_the_inline_limit_goes_on_in_chunks_one_at_a_time() -> None:
    case = Case(b"0123456789abcdef", body_inline=5, body_chunk=4)
    assert case.context.messages_on(REQUEST)[0]["body"] == b"01234"
    assert case.targets == [REQUEST, "http.request.body"]
    case.stored()
    case.stored()
    case.stored()
    assert [(chunk["content"], chunk["more_content"]) for chunk in case.chunks()] == [
        (b"5678", True), (b"9abc", True), (b"def", False),
    ]  # fmt: skip


def test_a_body_that_ends_exactly_with_a_chunk_still_ends() -> None:
    case = Case(None, body_inline=2, body_chunk=2)
    case.exchange.begin(4)
    case.exchange.feed(b"ab")
    case.exchange.feed(b"cd")
    case.exchange.end()
    case.stored()
    chunks = case.chunks()
    assert b"".join(chunk["content"] for chunk in chunks) == b"cd"
    assert [chunk["more_content"] for chunk in chunks][-1] is False


def test_reading_stops_while_chunks_wait() -> None:
    case = Case(None, body_inline=2, body_chunk=2, stream_bodies=True)
    case.exchange.begin(100)
    case.exchange.feed(b"x" * 50)
    assert case.writer.calls[-1] == ("pause",)


def test_consumers_hear_nothing_before_the_body_is_complete() -> None:
    case = Case(None, body_inline=2, body_chunk=2)
    case.exchange.begin(8)
    case.exchange.feed(b"x" * 7)
    assert case.targets == []
    case.exchange.feed(b"x")
    case.exchange.end()
    assert case.targets == [REQUEST, "http.request.body"]


def test_if_bodies_are_streamed_consumers_hear_of_the_first_part() -> None:
    case = Case(None, body_inline=2, body_chunk=2, stream_bodies=True)
    case.exchange.begin(1)  # in chunks: the length is not known
    case.exchange.feed(b"x" * 7)
    assert case.targets == [REQUEST, "http.request.body"]
    assert case.context.messages_on(REQUEST)[0]["headers"] == []


@pytest.mark.parametrize(("size", "expected"), [(7, b"7"), (0, b"0"), (3_000_000, b"3000000")])
def test_a_body_in_chunks_gets_its_length(size: int, expected: bytes, tmp_path: Path) -> None:
    case = Case(None, spool_dir=str(tmp_path))
    case.exchange._scope["headers"] = [(b"transfer-encoding", b"chunked"), (b"x", b"y")]
    case.exchange.begin(1)
    if size:
        case.exchange.feed(b"x" * size)
    case.exchange.end()
    case.context.disk.work_off()
    assert case.context.messages_on(REQUEST)[0]["headers"] == [[b"x", b"y"], [b"content-length", expected]]
    case.exchange.gone()
    case.context.disk.work_off()
    case.context.disk.file.close()


def test_a_request_without_a_body_is_given_no_length() -> None:
    case = Case()
    assert case.context.messages_on(REQUEST)[0]["headers"] == []


def test_what_a_worker_has_read_lets_the_body_go_on() -> None:
    case = Case(None, body_memory=10_000_000, body_inline=100_000, body_chunk=100_000)
    case.exchange.begin(5_000_000)
    case.exchange.feed(b"x" * 5_000_000)
    case.exchange.end()
    size = 0
    while (sent := sum(len(chunk["content"]) for chunk in case.chunks())) != size:
        size = sent
        case.stored()
    assert 2_000_000 <= 100_000 + size <= 2_200_000
    case.exchange.deliver({}, {"read": 1_000_000})
    case.stored()
    assert sum(len(chunk["content"]) for chunk in case.chunks()) > size
    assert case.exchange.phase is ExchangePhase.WAITING


def test_a_body_that_cannot_be_kept_is_a_503_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = Case(None, spool_dir=str(tmp_path / "none"))
    case.exchange.begin(1_000_000)
    case.exchange.feed(b"x" * 1_000_000)
    assert case.exchange.phase is ExchangePhase.GATHERING
    case.context.disk.work_off()
    assert case.status == 503
    assert case.targets == []
    assert "the body of GET /p cannot be kept" in caplog.text


def test_a_large_body_is_refused_at_once_while_all_room_is_taken(tmp_path: Path) -> None:
    case = Case(None, spool_dir=str(tmp_path), spool_bytes=300_000)
    case.context.disk.file.take(1)
    case.context.disk.file._limit = 262_144
    case.exchange.begin(1_000_000)
    assert case.status == 503
    assert ("expect",) not in case.writer.calls
    case.context.disk.file.close()


def test_a_client_that_waits_for_the_disk_too_long_is_not_to_blame() -> None:
    case = Case(None, body_timeout=30)
    case.exchange.begin(10_000_000)
    case.exchange.feed(b"x" * 2_000_000)
    assert case.writer.calls[-1] == ("pause",)
    case.exchange.tick(30)
    assert case.status == 503


def test_the_body_is_asked_for_when_its_turn_has_come() -> None:
    case = Case(None)
    case.exchange.begin(10)
    assert case.writer.calls[0] == ("expect",)


def test_a_length_over_the_limit_is_refused_before_anything_else() -> None:
    case = Case(None, body_max=10)
    case.exchange.begin(11)
    assert case.status == 413
    assert case.targets == []


def test_more_than_the_limit_is_cut_off_and_consumers_are_told() -> None:
    case = Case(None, body_max=10, body_inline=2, body_chunk=2, stream_bodies=True)
    case.exchange.begin(None)
    case.exchange.feed(b"x" * 8)
    case.exchange.feed(b"x" * 3)
    assert case.status == 413
    assert case.chunks()[-1]["closed"] is True
    assert GONE in case.targets


@pytest.mark.parametrize("error", [ChannelFull("http.request"), LayerUnavailable("here", "gone")])
def test_a_refused_request_is_a_503_and_nobody_is_told(error: Any) -> None:
    case = Case()
    case.exchange.refused(case.context.records.entries[0].item, error)
    assert case.status == 503
    assert case.targets == [REQUEST]


def test_while_the_layer_is_away_the_answer_is_503_at_once() -> None:
    case = Case(None)
    case.context.records.down = LayerUnavailable("here", "gone")
    case.exchange.begin(1_000_000)
    assert case.status == 503
    assert case.targets == []


def test_no_answer_in_time_is_a_504_and_consumers_are_told() -> None:
    case = Case(http_timeout=60)
    case.exchange.tick(59.9)
    assert case.writer.calls == []
    case.exchange.tick(60)
    assert case.status == 504
    assert case.targets == [REQUEST, "http.response.flow", GONE]


def test_a_client_that_pauses_too_long_in_its_body_gets_408() -> None:
    case = Case(None, body_timeout=30)
    case.exchange.begin(10)
    case.exchange.feed(b"x")
    case.exchange.tick(30)
    assert case.status == 408


def test_a_client_that_leaves_is_told_to_consumers_once() -> None:
    case = Case()
    case.exchange.gone()
    case.exchange.gone()
    assert case.targets == [REQUEST, "http.response.flow", GONE]
    assert case.writer.calls == []


def test_a_client_that_leaves_before_the_request_was_sent_is_nobodys_business() -> None:
    case = Case(None)
    case.exchange.begin(10)
    case.exchange.gone()
    assert case.targets == []


def test_a_bad_chunk_cuts_the_response_off() -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"a", "more_content": True})
    case.exchange.deliver({"content": "text"})
    assert case.writer.calls[-1] == ("abort",)
    assert GONE in case.targets


def test_what_was_taken_over_is_reported_step_by_step_to_who_asked_for_it(tmp_path: Path) -> None:
    case = Case(spool_dir=str(tmp_path))
    case.exchange.deliver(
        {"status": 200, "content": b"x" * 800_000, "more_content": True}, {"flow": "worker.a!1"}
    )  # fmt: skip
    case.writer.waiting = 400_000  # the client takes nothing
    for _ in range(3):
        case.exchange.deliver({"content": b"x" * 300_000, "more_content": True})
    assert case.context.messages_on("worker.a!1") == [{"written": 800_000}, {"written": 1_700_000}]
    case.exchange.deliver({"content": b"x" * 900_000, "more_content": True})
    assert len(case.context.messages_on("worker.a!1")) == 2, "the disk is behind, and the memory full"
    case.context.disk.work_off()
    assert case.context.messages_on("worker.a!1")[-1] == {"written": 2_600_000}
    case.exchange.gone()
    assert case.context.messages_on("worker.a!1")[-1] == {"closed": True}
    case.context.disk.work_off()
    case.context.disk.file.close()


def test_a_flow_channel_that_is_none_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"x" * 800_000, "more_content": True}, {"flow": "no channel"})
    assert case.exchange.phase is ExchangePhase.RESPONDING
    assert "hears nothing" in caplog.text


def test_a_client_that_leaves_a_response_whose_producer_is_done_is_told_to_consumers_only() -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"x" * 300_000, "more_content": True}, {"flow": "worker.a!1"})
    case.writer.waiting = 400_000
    case.exchange.deliver({"content": b"x" * 300_000})
    assert case.exchange.phase is ExchangePhase.EMPTYING
    case.exchange.deliver({}, {"failed": True})
    case.exchange.deliver({"content": b"surplus"})
    case.exchange.gone()
    assert case.targets == [REQUEST, GONE]


def test_a_large_response_in_one_message_is_given_to_the_connection_in_pieces() -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"x" * 100_000})
    assert [(len(call[-2]), call[-1]) for call in case.writer.calls] == [
        (65_536, True), (34_464, False),
    ]  # fmt: skip
    assert case.exchange.phase is ExchangePhase.DONE


def test_a_response_to_head_holds_nothing_back() -> None:
    case = Case()
    case.exchange._scope["method"] = "HEAD"
    case.writer.waiting = 1_000_000
    case.exchange.deliver({"status": 200, "content": b"x" * 100_000, "more_content": True})
    case.exchange.deliver({"content": b"x" * 100_000})
    assert case.writer.calls == [("start", 200, b"", True), ("write", b"", False)]
    assert case.exchange.phase is ExchangePhase.DONE


def test_a_producer_that_ignores_the_reports_is_cut_off() -> None:
    case = Case(response_buffer=1000)
    case.exchange.deliver({"status": 200, "content": b"", "more_content": True})
    case.writer.waiting = 100_000
    case.exchange.deliver({"content": b"x" * 1001, "more_content": True})
    assert case.writer.calls[-1] == ("abort",)


def test_a_response_that_the_disk_does_not_take_waits_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(spool_dir=str(tmp_path / "none"))
    case.exchange.deliver({"status": 200, "content": b"x" * 1_500_000, "more_content": True}, {"flow": "worker.a!1"})
    case.writer.waiting = 100_000
    for _ in range(2):
        case.exchange.deliver({"content": b"x" * 1_000_000, "more_content": True})
        case.context.disk.work_off()
    assert caplog.text.count("waits in memory") == 1
    case.writer.waiting = 0
    case.exchange.drained()
    assert sum(len(call[-2]) for call in case.writer.calls) == 3_500_000
    assert case.exchange.phase is ExchangePhase.RESPONDING


def test_a_client_that_stops_reading_is_cut_off_in_the_end() -> None:
    case = Case(http_timeout=60)
    case.exchange.deliver({"status": 200, "content": b"x" * 100, "more_content": True})
    case.writer.waiting = 50
    case.exchange.tick(1)
    case.exchange.tick(60)
    assert ("abort",) not in case.writer.calls
    case.exchange.tick(61)
    assert case.writer.calls[-1] == ("abort",)


def test_a_stream_that_pauses_is_not_cut_off() -> None:
    case = Case(http_timeout=60)
    case.exchange.deliver({"status": 200, "content": b"event", "more_content": True})
    for now in range(0, 1000, 10):
        case.exchange.tick(now)
    assert ("abort",) not in case.writer.calls


def test_a_message_through_a_group_is_an_answer() -> None:
    case = Case()
    case.exchange.apply(Reply({"status": 200, "content": b"news"}))
    assert case.writer.calls == [("start", 200, b"news", False)]


def test_a_message_through_a_group_that_is_no_answer_is_an_error_of_the_server() -> None:
    case = Case()
    case.exchange.apply(Reply({"text": "x"}))
    assert case.status == 500


def test_a_request_that_waited_is_forgotten_in_its_groups() -> None:
    quick, slow = Case(), Case()
    slow.context.now += 1
    for case in (quick, slow):
        case.exchange.deliver({"status": 200})
    assert quick.context.departures._gone == set()
    assert slow.context.departures._gone == {slow.exchange.channel}


def test_a_response_whose_producer_breaks_off_is_cut_and_not_ended() -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"some", "more_content": True})
    case.exchange.deliver({"content": b"", "more_content": True, "closed": True})
    assert case.writer.calls[-1] == ("abort",)
    assert case.exchange.phase is ExchangePhase.DONE


def test_a_producer_that_breaks_off_before_it_began_is_a_server_error() -> None:
    case = Case()
    case.exchange.deliver({"content": b"", "more_content": True, "closed": True})
    assert case.status == 500


def test_a_request_whose_consumer_failed_is_answered_at_once() -> None:
    case = Case()
    case.exchange.deliver({}, {"failed": True})
    assert case.status == 500


def test_a_response_whose_consumer_failed_midway_is_cut() -> None:
    case = Case()
    case.exchange.deliver({"status": 200, "content": b"some", "more_content": True})
    case.exchange.deliver({}, {"failed": True})
    assert case.writer.calls[-1] == ("abort",)


def test_a_producer_that_asks_is_told_that_the_client_is_here_and_what_it_may_have_missed() -> None:
    case = Case()
    case.exchange.deliver({}, {"flow": "worker.a!1"})
    assert case.context.messages_on("worker.a!1") == [{"written": 0}]
    case.exchange.deliver({"status": 200, "content": b"x" * 800_000, "more_content": True})
    case.exchange.deliver({"content": b"x", "more_content": True})
    case.exchange.deliver({}, {"flow": "worker.a!1"})
    assert case.context.messages_on("worker.a!1")[1:] == [{"written": 800_000}] * 2
    assert case.exchange.phase is ExchangePhase.RESPONDING


@pytest.mark.parametrize(
    ("answer", "is_endless"),
    [
        (None, False),
        ({"status": 200, "headers": [[b"Content-Length", b"10"]], "content": b"x", "more_content": True}, False),
        ({"status": 200, "content": b"x", "more_content": True}, True),
    ],
)
def test_only_a_response_that_has_begun_and_has_no_known_end_is_ended_for_the_server_to_stop(
    answer: dict[str, Any] | None, is_endless: bool
) -> None:
    case = Case()
    if answer is not None:
        case.exchange.deliver(answer)
    assert case.exchange.end_stream() == is_endless
    assert (("abort",) in case.writer.calls) == is_endless


@pytest.mark.parametrize(("flow", "is_cut"), [("worker.a!1", True), (None, False)])
def test_a_response_whose_producer_has_died_is_cut(flow: str | None, is_cut: bool) -> None:
    case = Case()
    headers = None if flow is None else {"flow": flow}
    case.exchange.deliver({"status": 200, "content": b"data: x", "more_content": True}, headers)
    for seconds in (90, 80, 80):  # there is a heartbeat after each
        case.context.now += seconds
        case.exchange.tick(case.context.now)
        assert case.exchange.phase is ExchangePhase.RESPONDING
        case.exchange.deliver({}, headers)
    case.context.now += 101
    case.exchange.tick(case.context.now)
    assert (case.exchange.phase is ExchangePhase.DONE) == is_cut
    assert (case.writer.calls[-1] == ("abort",)) == is_cut


def test_an_operator_sees_a_request_and_cannot_close_it() -> None:
    case = Case()
    case.context.now += 3
    assert case.exchange.facts() == {
        "path": "/p",
        "client": None,
        "age": 3.0,
        "state": "waiting",
        "user": None,
        "worker": None,
    }
    case.writer.waiting = 7
    assert case.exchange.details()["outbox_bytes"] == 7
    assert case.exchange.close_for_operator(1000, "") is False
    assert case.exchange.phase is ExchangePhase.WAITING
