"""Reports of processes in Redis: on which server, under which keys, sealed, and what answers mean."""

from __future__ import annotations

import struct

import pytest

from channel_layer.capacity import CapacityRules
from channel_layer.cipher import Sealer
from channel_layer.redis.report_calls import ReportCalls
from channel_layer.redis.scripts import REPORT
from channel_layer.redis.storage import Storage

NOW = [b"1000", b"500000"]


def calls(sealer: Sealer | None = None) -> ReportCalls:
    return ReportCalls(Storage(["a", "b"], "p:", 60, 86_400, CapacityRules(100, None), sealer))


def kept(made: float, ends: float, data: bytes) -> bytes:
    return struct.pack(">dd", made, ends) + data


def test_a_report_is_kept_with_the_time_at_which_it_ends() -> None:
    shard, call = calls().put("web.one", b"data", 2.5)
    assert shard in (0, 1)
    assert (call.script, call.keys, list(call.args)) == (REPORT, ["p:r:", "p:e:"], ["web.one", 2500, b"data"])


@pytest.mark.parametrize("as_dict", [True, False])
def test_what_is_over_is_left_out_and_the_rest_has_its_age(as_dict: bool) -> None:
    found = {
        b"web.one": kept(998_000, 1_100_000, b"one"),
        b"web.old": kept(900_000, 1_000_400, b"old"),
        b"web.short": b"x",
    }
    reply = found if as_dict else [part for pair in found.items() for part in pair]
    assert list(calls().fetched(reply, NOW)) == [("web.one", b"one", 2.5)]


def test_a_sealed_report_is_opened_under_its_own_name_only() -> None:
    pytest.importorskip("cryptography")
    sealed = calls(Sealer(["secret"], "p:", 10_000, lambda: 1000.0))
    _, call = sealed.put("web.one", b"data", 60)
    secret = call.args[2]
    assert isinstance(secret, bytes)
    assert b"data" not in secret
    found = {b"web.one": kept(1e6, 2e6, secret), b"web.two": kept(1e6, 2e6, secret)}
    assert [data for _, data, _ in sealed.fetched(found, NOW)] == [b"data", None]
