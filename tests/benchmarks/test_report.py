"""Tests of benchmarks.report."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.report import Results, as_json, cpu_table, document, figures_table, markdown, write
from benchmarks.works import Sample, Work

RATE = Work("echo", 50, target=24_000)
LATENCY = Work("echo", 1, latency=True)


def results() -> Results:
    """Two rounds at two works: ours does 2,000 and 4,000/s in 1 ms, the other one 1,500/s in 3 ms."""
    made = Results({"processor": "2 × Test"}, 3.0, [RATE, LATENCY], [PEERS["millrace"], PEERS["channels4-daphne"]])
    for work in made.works:
        for rate in (2_000, 4_000):
            made.add(work, made.peers[0], Sample(rate, 0.001, 0.002, 2.0, 4_000, {"server": 0.4, "redis": 0.04}))
            made.add(work, made.peers[1], Sample(1_500, 0.003, 0.004, 2.0, 3_000, {"server": 1.5}))
    return made


def cells(table: str, row: int) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in table.splitlines()[row].strip("|").split("|")]


def test_the_table_has_medians_and_ratios():
    table = figures_table(results())
    assert cells(table, 0)[1:4] == ["Millrace", "Channels 4, daphne", "Millrace : Channels 4, daphne"]
    assert cells(table, 2) == ["echo 50 sockets", "3,000/s", "1,500/s", "2.00 ×", "24,000/s", "67%"]
    assert cells(table, 3) == ["echo 1 socket, p50", "1.00 ms", "3.00 ms", "3.00 ×", "", "0%"]


def test_cpu_time_is_given_per_operation_and_as_a_share():
    assert cells(cpu_table(results()), 2)[2:6] == ["100.0 µs (20%)", "", "10.0 µs (2%)", ""]


def test_a_work_nobody_could_do_has_empty_cells_and_a_reason():
    made = Results({}, 3.0, [RATE], [PEERS["millrace"], PEERS["channels4-daphne"]])
    made.fail(RATE, made.peers[1], "the handshake was refused")
    assert cells(figures_table(made), 2) == ["echo 50 sockets", "–", "–", "–", "24,000/s", ""]
    assert "- echo 50 sockets, channels4-daphne: the handshake was refused" in document(made, "run", "2026-01-01")


def test_the_files_hold_the_machine_and_every_sample(tmp_path: Path):
    path = write(results(), tmp_path / "results", "run", "2026-01-01")
    assert path.name == "2026-01-01-run.md"
    assert "- processor: 2 × Test" in path.read_text(encoding="utf-8")
    kept = json.loads(path.with_suffix(".json").read_text())
    assert kept == json.loads(json.dumps(as_json(results())))
    assert [sample["rate"] for sample in kept["samples"]["echo 50 sockets"]["millrace"]] == [2_000, 4_000]


def test_a_table_is_aligned_as_plain_text():
    assert markdown([["a", "b"], ["long", "1"]]) == "| a    | b |\n| ---- | -: |\n| long | 1 |".replace("-: |", ": |")
