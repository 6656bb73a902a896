"""Tests of benchmarks.works."""

from __future__ import annotations

import pytest

from benchmarks.peers import OURS, PEERS
from benchmarks.stack import RoundError
from benchmarks.works import WORKS, Target, Work, read_wrk, times, within

OUTPUT = """Running 3s test @ http://127.0.0.1:8000/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.61ms  800.33us  21.95ms   91.50%
    Req/Sec    10.10k     1.20k   12.04k    70.00%
  Latency Distribution
     50%    1.45ms
     75%    1.78ms
     90%    2.29ms
     99%  890.00us
  30151 requests in 3.00s, 5.06MB read
Requests/sec:  10044.27
Transfer/sec:      1.69MB
"""


def test_what_wrk_prints_is_read():
    sample = read_wrk(OUTPUT, 3.1, {"server": 2.0})
    assert (sample.rate, sample.p50, sample.p99) == (10044.27, pytest.approx(0.00145), pytest.approx(0.00089))
    assert (sample.count, sample.seconds, sample.cpu) == (30151, 3.1, {"server": 2.0})


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_errors_that_wrk_counted_fail_the_round(line: str):
    with pytest.raises(RoundError, match=line.strip()):
        read_wrk(OUTPUT + line + "\n", 3, {})


def test_other_output_fails_the_round():
    with pytest.raises(RoundError, match="unknown"):
        read_wrk("unable to connect", 3, {})


def test_works_have_titles_of_their_own():
    assert len({work.title for work in WORKS}) == len(WORKS)
    assert Work("http", 1, latency=True).title == "HTTP 1 connection, p50"
    assert Work("group", 2_000).title == "group of 2,000 members"


@pytest.mark.parametrize(("figure", "reached"), [(0.000_45, True), (0.000_451, False), (None, None)])
def test_a_time_is_reached_by_what_is_not_longer(figure: float | None, reached: bool | None):
    (target,) = within(0.000_45)
    assert target.reached(figure, {}) is reached
    assert target.text() == "≤ 0.45 ms"


@pytest.mark.parametrize(("ratio", "reached"), [(40.0, True), (39.9, False), (None, None)])
def test_a_ratio_is_reached_by_what_is_not_smaller(ratio: float | None, reached: bool | None):
    target = Target("channels1", 40)
    assert target.reached(12_000, {"channels1": ratio, "channels4-uvicorn": 50.0}) is reached
    assert target.text() == "≥ 40 × Channels 1.1.8"


def test_a_peer_that_was_left_out_decides_nothing():
    assert Target("nchan", 0.6).reached(12_000, {}) is None


def test_several_ratios_are_several_targets():
    assert times(channels1=25, channels4_uvicorn=1.2) == (Target("channels1", 25), Target("channels4-uvicorn", 1.2))


def test_every_work_of_ours_has_targets_that_the_command_measures():
    for work in WORKS:
        assert {target.of for target in work.targets} == {
            name for name in (OURS, "hosted") if work.kind in PEERS[name].kinds
        }, work.title
        for target in work.targets:
            assert target.peer in PEERS if target.peer else work.latency, work.title
