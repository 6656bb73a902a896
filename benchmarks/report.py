"""The measured rounds as tables: figures with ratios, and where the CPU time went."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .figures import advantage, median, rate_text, ratio_text, spread, time_text
from .peers import OURS, Peer
from .works import Sample, Work


@dataclass
class Results:
    """Everything that was measured.

    Attributes:
        machine: facts about it, see `machine.describe`.
        seconds: length of a round.
        samples: work's title → peer's name → one sample per round.
        failures: the same with the reasons of rounds that could not be carried through.
    """

    machine: dict[str, str]
    seconds: float
    works: list[Work]
    peers: list[Peer]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    failures: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def add(self, work: Work, peer: Peer, sample: Sample) -> None:
        """Keep a round."""
        self.samples.setdefault(work.title, {}).setdefault(peer.name, []).append(sample)

    def fail(self, work: Work, peer: Peer, reason: str) -> None:
        """Keep why there is none."""
        self.failures.setdefault(work.title, {}).setdefault(peer.name, []).append(reason)

    def of(self, work: Work, peer_name: str) -> list[Sample]:
        """The rounds of one peer at one work."""
        return self.samples.get(work.title, {}).get(peer_name, [])

    def figure(self, work: Work, peer_name: str) -> float | None:
        """The median over the rounds: of the rate, or of the median latency."""
        return median(_values(work, self.of(work, peer_name)))


def _values(work: Work, samples: list[Sample]) -> list[float | None]:
    return [sample.p50 if work.latency else sample.rate for sample in samples]


def figure_text(work: Work, value: float | None) -> str:
    """A figure in its unit."""
    return time_text(value) if work.latency else rate_text(value)


def figures_table(results: Results) -> str:
    """Medians of all peers, and how many times as good the first is as each of the others."""
    first, *others = results.peers
    heads = [peer.title for peer in results.peers] + [f"{first.title} : {peer.title}" for peer in others]
    lines = [["work", *heads, "stage target", "spread"]]
    for work in results.works:
        ours = results.figure(work, first.name)
        row = [work.title, *(figure_text(work, results.figure(work, peer.name)) for peer in results.peers)]
        for peer in others:
            theirs = results.figure(work, peer.name)
            row.append(ratio_text(advantage(ours, theirs, lower_is_better=work.latency)))
        row.append(figure_text(work, work.target) if work.target and first.name == OURS else "")
        apart = spread(_values(work, results.of(work, first.name)))
        row.append("" if apart is None else f"{apart:.0%}")
        lines.append(row)
    return markdown(lines)


def cpu_table(results: Results) -> str:
    """CPU microseconds per operation in each process, and its share of a core."""
    roles = ["server", "worker", "redis", "client"]
    lines = [["work", "peer", *roles, "others", "p99"]]
    for work in results.works:
        for peer in results.peers:
            samples = results.of(work, peer.name)
            if samples:
                cells = [_cpu_cell(samples, role) for role in roles]
                others = median([sample.cpu.get("others", 0.0) / sample.seconds for sample in samples])
                p99 = time_text(median([sample.p99 for sample in samples]))
                lines.append([work.title, peer.title, *cells, f"{others or 0:.0%}", p99])
    return markdown(lines)


def _cpu_cell(samples: list[Sample], role: str) -> str:
    if role not in samples[0].cpu:
        return ""
    each = median([sample.cpu[role] / max(sample.count, 1) for sample in samples])
    share = median([sample.cpu[role] / sample.seconds for sample in samples])
    return f"{(each or 0) * 1e6:,.1f} µs ({share or 0:.0%})"


def markdown(lines: list[list[str]]) -> str:
    """A table that reads well as plain text too: first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def row(line: list[str]) -> str:
        cells = [
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [f"{'-' * (width - 1)}{':' if column else '-'}" for column, width in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])


def document(results: Results, name: str, date: str) -> str:
    """The whole report as Markdown."""
    rounds = max((len(rounds) for by_peer in results.samples.values() for rounds in by_peer.values()), default=0)
    parts = [
        f"# Benchmark {name}, {date}",
        f"Medians of {rounds} rounds of {results.seconds:g} s, the peers taking turns. A ratio of 2 means twice as "
        f"fast. Spread: largest minus smallest round of {results.peers[0].title}, as a share of its median.",
        figures_table(results),
        "## Where the CPU time goes",
        "Per operation (a request, an echo, a delivery), and as a share of one core during the round. "
        "Others: what else ran on the machine, as a share of one core; far from nothing, the round says little.",
        cpu_table(results),
    ]
    if results.failures:
        failed = [
            f"- {title}, {peer}: {reason} ({len(reasons)} rounds)"
            if len(reasons) > 1
            else f"- {title}, {peer}: {reason}"
            for title, by_peer in results.failures.items()
            for peer, reasons in by_peer.items()
            for reason in reasons[:1]
        ]
        parts += ["## Rounds that failed", "\n".join(failed)]
    parts += ["## Machine", "\n".join(f"- {fact}: {text}" for fact, text in results.machine.items())]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> dict[str, Any]:
    """Everything, for programs: no figure in it is rounded."""
    return {
        "machine": results.machine,
        "seconds": results.seconds,
        "works": [{**asdict(work), "title": work.title} for work in results.works],
        "peers": {peer.name: peer.title for peer in results.peers},
        "samples": {
            title: {peer: [asdict(sample) for sample in rounds] for peer, rounds in by_peer.items()}
            for title, by_peer in results.samples.items()
        },
        "failures": results.failures,
    }


def write(results: Results, directory: Path, name: str, date: str) -> Path:
    """Write ``<date>-<name>.md`` and ``.json``; returns the path of the former."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{date}-{name}.md"
    path.write_text(document(results, name, date), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
    return path
