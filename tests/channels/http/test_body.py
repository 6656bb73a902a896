"""`channels.http.body`: the body of a request, fetched when it is read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from channel_layer.exceptions import LayerUnavailable
from channels.exceptions import RequestAborted, RequestTimeout
from channels.http.body import REPORT_BYTES, LazyBody
from tests.conftest import wait_until

from ..messages import REPLY, deliveries

BODY = "http.request.body?x"


@pytest.fixture
def body(layer: Any) -> Iterator[Callable[..., LazyBody]]:
    """Makes bodies, and closes them."""
    made: list[LazyBody] = []

    def make(first: bytes = b"", timeout: float = 20, memory: int = 1000, **options: Any) -> LazyBody:
        made.append(LazyBody(first, layer, BODY, timeout, memory, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(layer: Any, *chunks: bytes, end: bool = True) -> None:
    for number, chunk in enumerate(chunks):
        layer.send(BODY, {"content": chunk, "more_content": not (end and number == len(chunks) - 1)})


def test_it_is_the_first_part_and_all_chunks(layer: Any, body: Any) -> None:
    send(layer, *(bytes([number]) for number in range(16)))
    assert body(b"first").read() == b"first" + bytes(range(16))


def test_nothing_is_fetched_before_it_is_read(layer: Any, body: Any) -> None:
    send(layer, b"a")
    made = body()
    assert (made.tell(), made.readable(), made.seekable()) == (0, True, True)
    assert layer.receive([BODY]) == (BODY, {"content": b"a", "more_content": False})


def test_it_reads_like_a_file(layer: Any, body: Any) -> None:
    send(layer, b"ne\ntwo\n", b"three")
    made = body(b"o")
    assert made.size() == 13
    assert made.read(2) == b"on"
    assert made.readline() == b"e\n"
    assert made.readline(2) == b"tw"
    assert list(made) == [b"o\n", b"three"]
    assert made.tell() == 13
    assert made.seek(0) == 0
    assert made.readlines() == [b"one\n", b"two\n", b"three"]


def test_its_size_leaves_the_position_alone(layer: Any, body: Any) -> None:
    send(layer, b"abc")
    made = body()
    made.read(1)
    assert made.size() == 3
    assert made.read() == b"bc"


@pytest.mark.parametrize(("length", "on_disk"), [(1000, False), (1001, True)])
def test_a_large_one_is_kept_on_disk_and_given_back(layer: Any, body: Any, length: int, on_disk: bool) -> None:
    send(layer, b"x" * length)
    made = body()
    assert made.read(1) == b"x"
    assert made._file._rolled is on_disk
    made.close()
    assert made._file.closed
    with pytest.raises(ValueError, match="closed"):
        made.read()


def test_one_that_stops_coming_is_a_timeout_each_time_it_is_read(layer: Any, body: Any) -> None:
    send(layer, b"a", end=False)
    made = body(timeout=0.01)
    with pytest.raises(RequestTimeout, match=r"^no more of the request's body came within 0\.01 seconds$"):
        made.read()
    send(layer, b"too late")
    with pytest.raises(RequestTimeout):
        made.read()
    assert isinstance(made.failure, RequestTimeout)


def test_a_client_that_left_is_an_abort(layer: Any, body: Any) -> None:
    layer.send(BODY, {"closed": True, "content": b"", "more_content": False})
    made = body()
    with pytest.raises(RequestAborted, match="went away before its request was complete"):
        made.read()
    assert isinstance(made.failure, RequestAborted)


def test_a_pop_that_comes_back_early_does_not_end_it(layer: Any, body: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real, answers = layer.channel_layer.receive_batch, [[], []]

    def receive_batch(*args: Any) -> Any:
        return answers.pop() if answers else real(*args)

    monkeypatch.setitem(layer.__dict__, "receive_batch", receive_batch)
    send(layer, b"whole")
    assert body().read() == b"whole"


def test_it_reports_what_it_has_so_that_more_is_sent_but_for_the_end(layer: Any, body: Any) -> None:
    made = body(b"first", reports=REPLY)
    read = threading.Thread(target=made.read)
    read.start()
    for expected in (5 + 100, 5 + 100 + REPORT_BYTES):
        send(layer, b"x" * (expected - 105 or 100), end=False)
        [report] = wait_until(lambda: deliveries(layer), "a report")
        assert (report.channel, report.message, report.headers) == (REPLY, {}, {"read": expected})
    send(layer, b"end")
    read.join(20)
    assert made.size() == 108 + REPORT_BYTES
    assert deliveries(layer) == []


def test_it_reports_no_more_often_than_keeps_its_sender_going(
    layer: Any, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.http.body.CHUNKS_PER_RECEIVE", 1)
    quarter = b"x" * (REPORT_BYTES // 4)
    send(layer, *[quarter] * 10)
    body(reports=REPLY).read()
    assert [report.headers["read"] for report in deliveries(layer)] == [len(quarter) * count for count in (1, 5, 9)]


@pytest.mark.parametrize("error", [LayerUnavailable("here", "away"), None], ids=repr)
def test_a_report_that_cannot_be_sent_ends_nothing(
    layer: Any, body: Any, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def send_batch(items: Any) -> Any:
        tried.append(items)
        if error is not None:
            raise error
        return list(items)

    tried: list[Any] = []
    monkeypatch.setattr("channels.http.body.CHUNKS_PER_RECEIVE", 2)
    send(layer, b"a", b"b", b"c")
    monkeypatch.setitem(layer.__dict__, "send_batch", send_batch)
    assert body(reports=REPLY).read() == b"abc"
    assert len(tried) == 1


def test_one_of_which_a_part_was_lost_on_its_way_does_not_pass_for_the_whole(layer: Any, body: Any) -> None:
    send(layer, b"b", b"d")
    made = body(b"a", length=4)
    with pytest.raises(RequestAborted, match="of the request's body came 3 bytes and not 4"):
        made.read()
    send(layer, b"bcd")
    assert body(b"a", length=4).read() == b"abcd"


def test_one_without_a_length_is_as_long_as_its_last_chunk_says(layer: Any, body: Any) -> None:
    last = {"content": b"d", "more_content": False, "length": 4}
    layer.send(BODY, last)
    made = body(b"a")
    with pytest.raises(RequestAborted, match="of the request's body came 2 bytes and not 4"):
        made.read()
    send(layer, b"b", b"c", end=False)
    layer.send(BODY, last)
    assert body(b"a").read() == b"abcd"
