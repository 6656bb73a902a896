"""Tests of benchmarks.report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peers import PEERS, Peer
from benchmarks.report import Results, Section, as_json, cpu_table, document, figures_table, ratios_table, write
from benchmarks.works import Sample, Work, hosted, times, within

RATE = Work("echo", 50, targets=times(channels4_daphne=2, channels4_uvicorn=1.2))
LATENCY = Work("echo", 1, latency=True, targets=within(0.000_9))
GROUP = Work("group", 500)


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


def test_the_table_has_the_medians_of_everybody():
    table = figures_table(results())
    assert cells(table, 0) == ["work", "Millrace", "Channels 4, daphne", "spread"]
    assert cells(table, 2) == ["echo 50 sockets", "3,000/s", "1,500/s", "67%"]
    assert cells(table, 3) == ["echo 1 socket, p50", "1.00 ms", "3.00 ms", "0%"]


def test_ratios_stand_beside_targets_with_their_verdicts():
    table = ratios_table(results())
    assert cells(table, 0) == ["work", "to Channels 4, daphne", "target", "reached"]
    targets = "≥ 2 × Channels 4, daphne: reached; ≥ 1.2 × Channels 4, uvicorn: not measured"
    assert cells(table, 2) == ["echo 50 sockets", "2.00 ×", targets, "1 of 1"]
    assert cells(table, 3) == ["echo 1 socket, p50", "3.00 ×", "≤ 0.90 ms: missed", "0 of 1"]


@pytest.mark.parametrize("peer", [PEERS["channels4-uvicorn"], PEERS["channels1"]])
def test_targets_are_those_of_our_side(peer: Peer):
    made = Results({}, 3.0, [LATENCY], [peer])
    made.add(LATENCY, peer, Sample(1_000, 0.000_1, 0.001, 2.0, 2_000))
    assert made.verdicts(LATENCY) == []


def test_what_is_hosted_has_targets_of_its_own():
    work = Work("echo", 50, targets=(*times(channels4_uvicorn=2), hosted(3)))
    made = Results({}, 3.0, [work], [PEERS["millrace"], PEERS["hosted"], PEERS["channels4-uvicorn"]])
    for peer, rate in zip(made.peers, (5_000, 2_500, 1_000), strict=True):
        made.add(work, peer, Sample(rate, 0.001, 0.002, 2.0, 4_000))
    targets = "≥ 2 × Channels 4, uvicorn: reached; hosted ≥ 3 × Channels 4, uvicorn: missed"
    assert cells(ratios_table(made), 2)[1:] == ["2.00 ×", "5.00 ×", targets, "1 of 2"]
    made.peers.pop(0)
    assert [reached for _, reached in made.verdicts(work)] == [False]


def test_cpu_time_is_given_per_operation_and_as_a_share():
    assert cells(cpu_table(results()), 2)[2:6] == ["100.0 µs (20%)", "", "10.0 µs (2%)", ""]


def test_a_work_nobody_could_do_has_dashes_and_a_reason():
    made = Results({}, 3.0, [RATE], [PEERS["millrace"], PEERS["channels4-daphne"]])
    made.fail(RATE.title, "channels4-daphne", "the handshake was refused")
    assert cells(figures_table(made), 2) == ["echo 50 sockets", "–", "–", ""]
    assert "- echo 50 sockets, channels4-daphne: the handshake was refused" in document(made, "run", "2026-01-01")


def test_a_peer_that_cannot_do_a_work_has_empty_cells():
    made = Results({}, 3.0, [RATE, GROUP], [PEERS["millrace"], PEERS["nchan"]])
    assert [cells(figures_table(made), row)[2] for row in (2, 3)] == ["", "–"]
    assert [cells(ratios_table(made), row)[1] for row in (2, 3)] == ["", "–"]


def test_a_peer_that_was_left_out_has_no_column_but_a_reason():
    made = results()
    made.peers.remove(PEERS["channels4-daphne"])
    made.left_out["channels4-daphne"] = "pip failed"
    assert cells(figures_table(made), 0) == ["work", "Millrace", "spread"]
    assert "## Left out\n\n- channels4-daphne: pip failed\n" in document(made, "run", "2026-01-01")


def test_the_files_hold_the_machine_and_every_sample(tmp_path: Path):
    path = write(results(), tmp_path / "results", "run", "2026-01-01")
    assert path.name == "2026-01-01-run.md"
    assert "- processor: 2 × Test" in path.read_text(encoding="utf-8")
    kept = json.loads(path.with_suffix(".json").read_text())
    assert kept == json.loads(json.dumps(as_json(results())))
    assert [sample["rate"] for sample in kept["samples"]["echo 50 sockets"]["millrace"]] == [2_000, 4_000]
    assert kept["works"][0]["reached"] == [True, None]


def test_what_a_study_found_is_a_section_and_is_kept_unrounded():
    made = Results({}, 3.0, [], [PEERS["millrace"]])
    made.sections["idle"] = Section("Idle", "Two processes.", [["who", "CPU"], ["worker", "0.1%"]], {"cpu": [0.00123]})
    text = document(made, "run", "2026-01-01")
    assert "## Idle\n\nTwo processes.\n\n| who    |" in text
    assert "Where the CPU time goes" not in text
    assert as_json(made)["studies"]["idle"]["data"] == {"cpu": [0.00123]}


def test_a_section_is_a_heading_its_text_its_table_and_its_notes():
    section = Section("Idle", "What was *done*.", [["what", "figure"], ["server", "0.1%"]], {}, ["One.", "Two."])
    assert section.document().split("\n\n") == [
        "## Idle",
        "What was *done*.",
        "| what   | figure |\n| ------ | -----: |\n| server |   0.1% |",
        "- One.\n- Two.",
    ]


def test_without_notes_it_ends_with_its_table():
    assert Section("Idle", "Text.", [["a"], ["b"]], {}).document().endswith("| b |")
