"""Tests of benchmarks.scaling."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.scaling import (
    CONNECTIONS,
    FILLED,
    Costs,
    TooMuchError,
    Workload,
    deployment,
    document,
    main,
    reached,
    read,
    split,
)

ROOT = Path(__file__).resolve().parents[2]

COSTS = Costs(
    server=30e-6,
    worker=20e-6,
    redis=10e-6,
    bytes_in=400,
    bytes_out=400,
    delivery=10e-6,
    group=20e-6,
    group_process=5e-6,
    socket=20_000,
    server_memory=40_000_000,
    worker_memory=50_000_000,
)

RESULTS = {
    "samples": {"group of 2,000 members": {"millrace": [{"cpu": {"server": 2.0}, "count": 200_000}]}},
    "studies": {
        "traffic": {
            "data": {
                "echoes": {
                    "200": [
                        {"server": cost, "worker": 20e-6, "redis": 10e-6, "bytes in": 400.0, "bytes out": 400.0}
                        for cost in (90e-6, 30e-6, 29e-6)
                    ]
                },
                "groups": {"1": [25e-6], "100": [520e-6]},
            }
        },
        "connections": {"data": {"bytes per socket": {"millrace": {"5000": [30_000.0], "10000": [20_000.0]}}}},
        "idle": {"data": {"memory": {"server": 40_000_000, "worker": 50_000_000}}},
    },
}


def test_costs_are_the_medians_of_a_run() -> None:
    costs = read(RESULTS)
    assert (costs.group, costs.group_process) == pytest.approx((COSTS.group, COSTS.group_process))
    assert costs._replace(group=COSTS.group, group_process=COSTS.group_process) == COSTS


def test_quiet_sockets_need_as_many_processes_as_hold_them() -> None:
    needed = deployment(COSTS, Workload("", 50_000, frames=0.001))
    assert (needed.interfaces, needed.interface_limit) == (50_000 / CONNECTIONS, "connections")
    assert (needed.workers, needed.shards) == (1, 1)
    assert needed.memory == 5 * COSTS.server_memory + 50_000 * COSTS.socket


def test_busy_sockets_need_cores() -> None:
    needed = deployment(COSTS, Workload("", 10_000, frames=10, cpu=0.001, waiting=0.0))
    assert (needed.interfaces, needed.interface_limit) == (100_000 * COSTS.server / FILLED, "CPU")
    assert (needed.workers, needed.worker_limit) == (pytest.approx(100_000 * 0.00102 / FILLED, abs=1), "CPU")
    assert needed.shards == 2
    assert needed.redis_cores == pytest.approx(1.0)


def test_consumers_that_wait_need_threads() -> None:
    assert deployment(COSTS, Workload("", 10_000, frames=1, cpu=0.0, waiting=0.1)).worker_limit == "threads"


def test_a_message_to_everybody_costs_each_process_and_each_member() -> None:
    load = Workload("", 100_000, frames=0.0, broadcasts=10, broadcast_members=100_000)
    needed = deployment(COSTS, load)
    assert needed.interfaces == 17  # 1,000,000 deliveries a second of 10 microseconds, on cores that are 60 % full
    assert needed.redis_cores == pytest.approx(10 * (COSTS.group + 17 * COSTS.group_process))


@pytest.mark.parametrize(("processes", "members", "expected"), [(1, 5, 1.0), (10, 1, 1.0), (2, 2, 1.5)])
def test_few_members_reach_few_processes(processes: int, members: int, expected: float) -> None:
    assert reached(processes, members) == pytest.approx(expected)


def test_more_servers_carry_more_messages_to_groups() -> None:
    one, eight = (deployment(COSTS, Workload("", sockets, frames=0.1, members=2)) for sockets in (100_000, 800_000))
    assert one.shards == 1
    assert eight.shards == pytest.approx(8 * one.redis_cores / FILLED, rel=0.15)


def test_more_servers_do_not_help_a_flood_of_messages_to_everybody_but_more_installations_do() -> None:
    load = Workload("", 1_000_000, frames=0.0, broadcasts=1_200, broadcast_members=1_000_000)
    with pytest.raises(TooMuchError, match="home of the group of everybody"):
        deployment(COSTS._replace(delivery=0.0, server=0.0), load)


def test_the_split_with_the_least_servers_is_found() -> None:
    load = Workload("", 1_000_000, frames=0.1, members=2)
    installations, needed = split(COSTS, load)
    assert needed == deployment(COSTS, load.part(installations))
    for others in (max(1, installations // 2), installations * 2):
        assert others * deployment(COSTS, load.part(others)).shards >= installations * needed.shards


def test_every_installation_sends_what_goes_to_everybody() -> None:
    to_all = Workload("", 1_000, 0.0, broadcasts=8, broadcast_members=1_000).part(4)
    assert (to_all.sockets, to_all.broadcasts, to_all.broadcast_members) == (250, 8, 250)
    to_some = Workload("", 1_000, 0.0, broadcasts=8, broadcast_members=10).part(4)
    assert (to_some.broadcasts, to_some.broadcast_members) == (2, 10)


def test_a_run_without_all_studies_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**RESULTS, "studies": {}}))
    assert main([str(path)]) == 1
    assert "lacks 'traffic': make it with 'make bench'" in capsys.readouterr().err


def test_the_tables_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, tables = tmp_path / "run.json", tmp_path / "tables.md"
    run.write_text(json.dumps(RESULTS))
    assert main([str(run), "--write", str(tables)]) == 0
    assert capsys.readouterr().out == tables.read_text() == document(RESULTS, run.as_posix())


def test_the_documentation_shows_what_its_run_gives() -> None:
    """After a new run: ``python -m benchmarks.scaling benchmarks/results/X.json --write docs/scaling-tables.md``."""
    tables = (ROOT / "docs" / "scaling-tables.md").read_text(encoding="utf-8")
    source = re.search(r"From `(benchmarks/results/[^`]+\.json)`", tables)
    assert source
    assert tables == document(json.loads((ROOT / source[1]).read_text(encoding="utf-8")), source[1])
