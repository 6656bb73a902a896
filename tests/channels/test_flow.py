"""`channels.flow`: a long response at the pace of its client."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from channel_layer.exceptions import ChannelFull
from channels import flow
from channels.flow import MAX_IN_FLIGHT, ClientGone, PacedSender
from tests.conftest import wait_until

from .messages import replies, request

REPORTS = "http.response.flow?x"
PART = {"content": b"x" * 262_144, "more_content": True}


def sender(layer: Any, reports: str | None = REPORTS) -> PacedSender:
    return PacedSender(request(layer, flow=reports))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(flow, "STALL_SECONDS", 0.0)
    monkeypatch.setattr(flow, "WAIT_SECONDS", 0.01)


def test_each_message_is_sent_before_send_returns(layer: Any) -> None:
    sender(layer).send(PART)
    assert replies(layer) == [PART]


@pytest.mark.usefixtures("impatient")
def test_no_more_than_two_mebibytes_are_under_way(layer: Any) -> None:
    paced = sender(layer)
    for _ in range(MAX_IN_FLIGHT // 262_144):
        paced.send(PART)
    with pytest.raises(ClientGone, match="has taken nothing for 0 seconds"):
        paced.send(PART)
    assert sum(len(reply["content"]) for reply in replies(layer)) == MAX_IN_FLIGHT


def test_what_was_written_makes_room(layer: Any) -> None:
    paced, sent = sender(layer), []

    def produce() -> None:
        for number in range(20):
            paced.send(PART)
            sent.append(number)

    thread = threading.Thread(target=produce)
    thread.start()
    for written, room in ((524_288, 10), (1_048_576, 12), (1_048_576, 12), (3_145_728, 20)):
        layer.send(REPORTS, {"written": written})
        wait_until(lambda room=room: len(sent) >= room, f"{room} messages")
        assert len(sent) == room
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.usefixtures("impatient")
def test_a_report_out_of_order_takes_nothing_back(layer: Any) -> None:
    paced = sender(layer)
    paced._looked = 0.0  # it is time to look
    for written in (MAX_IN_FLIGHT, 10):
        layer.send(REPORTS, {"written": written})
    for _ in range(2 * MAX_IN_FLIGHT // 262_144):
        paced.send(PART)
    assert sum(len(reply["content"]) for reply in replies(layer)) == 2 * MAX_IN_FLIGHT


@pytest.mark.usefixtures("impatient")
def test_one_message_may_be_larger_than_all_that_is_allowed(layer: Any) -> None:
    large = {"content": b"x" * 1_000_000, "more_content": True}
    paced = sender(layer)
    paced._sent = paced._written = MAX_IN_FLIGHT
    paced.send(large)
    assert replies(layer) == [large]


def test_it_ends_when_the_client_is_gone_also_without_having_to_wait(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "CHECK_SECONDS", -1.0)
    layer.send(REPORTS, {"closed": True})
    with pytest.raises(ClientGone, match="the client went away"):
        sender(layer).send(PART)
    assert replies(layer) == []


@pytest.mark.usefixtures("impatient")
def test_without_reports_the_channels_capacity_is_the_only_limit(layer: Any) -> None:
    paced = sender(layer, reports=None)
    for _ in range(20):
        paced.send(PART)
    assert len(replies(layer)) == 20


def test_it_waits_while_its_channel_is_full(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [True, True, False]
    real = layer.channel_layer.send_many

    def send_many(items: Any) -> Any:
        return list(items) if refusals.pop(0) else real(items)

    monkeypatch.setitem(layer.__dict__, "send_many", send_many)
    sender(layer).send(PART)
    assert replies(layer) == [PART]


def test_it_ends_when_its_channel_stays_full(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(items: Any) -> Any:
        raise ChannelFull

    monkeypatch.setattr(flow, "STALL_SECONDS", 0.01)
    monkeypatch.setitem(layer.__dict__, "send_many", full)
    with pytest.raises(ClientGone, match="its channel has been full for"):
        sender(layer).send(PART)
