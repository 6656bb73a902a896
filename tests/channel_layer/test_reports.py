"""Reports of processes, beside what the conformance suite says of them."""

from __future__ import annotations

from channel_layer.codec import pack_body
from channel_layer.layer import ChannelLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.reports import KEEP_SECONDS, REPORTS, Report


def test_a_report_is_kept_for_five_minutes_unless_asked_otherwise() -> None:
    now = [0.0]
    layer = MemoryChannelLayer(clock=lambda: now[0])
    layer.publish_report("web.one", {"n": 1})
    now[0] = KEEP_SECONDS - 1
    assert layer.reports() == [Report("web.one", {"n": 1}, KEEP_SECONDS - 1)]
    now[0] = KEEP_SECONDS + 1
    assert layer.reports() == []


def test_a_report_that_cannot_be_read_is_left_out_and_counted() -> None:
    layer = MemoryChannelLayer()
    layer._put_report("web.other", b"\xc1", 60)
    layer._put_report("web.list", b"\x90", 60)
    layer._put_report("web.one", pack_body({"n": 1}), 60)
    assert [report.name for report in layer.reports()] == ["web.one"]
    assert layer.counters.bad_frames == 2


def test_a_layer_has_the_extension_only_if_it_says_so() -> None:
    assert REPORTS not in ChannelLayer.extensions
    assert REPORTS in MemoryChannelLayer.extensions


def test_a_layer_cannot_tell_how_long_messages_waited_unless_it_says_so() -> None:
    layer = MemoryChannelLayer()
    layer.send("work", {})
    deliveries = layer.receive_batch(["work"])
    assert len(layer.waited(deliveries)) == 1
    assert ChannelLayer.waited(layer, deliveries) == []


def test_messages_without_a_time_are_left_out() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("team", "process!one")
    layer.receive_batch(["process!"])
    layer.send_group("team", {})
    (delivery,) = layer.receive_batch(["process!"])
    assert delivery.members is not None
    assert layer.waited([delivery]) == []
