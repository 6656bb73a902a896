"""The report: figures, ratios with their targets, where the CPU time went, and what the studies found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .figures import advantage, markdown, median, rate_text, ratio_text, spread, time_text
from .peers import Peer
from .works import Sample, Target, Work


@dataclass(frozen=True)
class Setting:
    """Number and length of the rounds, and what takes a line about the progress, beside the report."""

    rounds: int
    seconds: float
    tell: Callable[[str], None]


@dataclass
class Section:
    """Results of a study.

    Attributes:
        title: its heading.
        text: Markdown: what was done and how to read it.
        table: the figures, heads first; the last column says ``reached`` or ``missed`` where there is a target.
        data: every round, unrounded; fit for JSON.
        notes: what went wrong or has to be kept in mind, a sentence each.
    """

    title: str
    text: str
    table: list[list[str]]
    data: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def document(self) -> str:
        """The section as Markdown, with a heading of the second level."""
        notes = ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join([f"## {self.title}", self.text, markdown(self.table), *notes])


@dataclass
class Results:
    """Everything that was measured.

    Attributes:
        machine: facts about it, see `machine.describe`.
        seconds: length of a round.
        samples: work's title → peer's name → one sample per round.
        failures: the same with the reasons of rounds that could not be carried through; of a study, under its name.
        left_out: what was not measured at all, by name, and why.
        sections: what the studies found, by name.
    """

    machine: dict[str, str]
    seconds: float
    works: list[Work]
    peers: list[Peer]
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    failures: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)

    def add(self, work: Work, peer: Peer, sample: Sample) -> None:
        """Keep a round."""
        self.samples.setdefault(work.title, {}).setdefault(peer.name, []).append(sample)

    def fail(self, title: str, name: str, reason: str) -> None:
        """Keep why there is none."""
        self.failures.setdefault(title, {}).setdefault(name, []).append(reason)

    def of(self, work: Work, peer: Peer) -> list[Sample]:
        """The rounds of one peer at one work."""
        return self.samples.get(work.title, {}).get(peer.name, [])

    def values(self, work: Work, peer: Peer) -> list[float | None]:
        """The figure of each round: the rate, or the median latency."""
        return [sample.p50 if work.latency else sample.rate for sample in self.of(work, peer)]

    def ratios(self, work: Work, of: Peer | None = None) -> dict[str, float | None]:
        """Ratios of a peer, the first if it is left out, to each of the others that can do this work."""
        of = of or self.peers[0]
        ours = median(self.values(work, of))
        return {
            peer.name: advantage(ours, median(self.values(work, peer)), lower_is_better=work.latency)
            for peer in self.peers
            if work.kind in peer.kinds and peer is not of
        }

    def verdicts(self, work: Work) -> list[tuple[Target, bool | None]]:
        """The targets of a work for those peers that were measured, and whether they are reached."""
        return [
            (target, target.reached(median(self.values(work, peer)), self.ratios(work, peer)))
            for target in work.targets
            for peer in self.peers
            if peer.name == target.of
        ]


def figure_text(work: Work, value: float | None) -> str:
    """A figure in its unit."""
    return time_text(value) if work.latency else rate_text(value)


def figures_table(results: Results) -> str:
    """Medians of all peers; an empty cell where one cannot do a work, a dash where it failed."""
    lines = [["work", *(peer.title for peer in results.peers), "spread"]]
    for work in results.works:
        values = {peer: results.values(work, peer) for peer in results.peers}
        cells = [figure_text(work, median(found)) if work.kind in peer.kinds else "" for peer, found in values.items()]
        apart = spread(values[results.peers[0]])
        lines.append([work.title, *cells, "" if apart is None else f"{apart:.0%}"])
    return markdown(lines)


def ratios_table(results: Results) -> str:
    """Ratios of the first peer to each of the others, its targets, and whether they are reached."""
    others = results.peers[1:]
    words = {True: "reached", False: "missed", None: "not measured"}
    lines = [["work", *(f"to {peer.title}" for peer in others), "target", "reached"]]
    for work in results.works:
        ratios, verdicts = results.ratios(work), results.verdicts(work)
        cells = [ratio_text(ratios[peer.name]) if peer.name in ratios else "" for peer in others]
        targets = "; ".join(f"{target.text()}: {words[reached]}" for target, reached in verdicts)
        known = [reached for _, reached in verdicts if reached is not None]
        lines.append([work.title, *cells, targets, f"{sum(known)} of {len(known)}" if known else ""])
    return markdown(lines)


def cpu_table(results: Results) -> str:
    """CPU microseconds per operation in each process, and its share of a core."""
    roles = ["server", "worker", "redis", "client"]
    lines = [["work", "peer", *roles, "others", "p99"]]
    for work in results.works:
        for peer in results.peers:
            samples = results.of(work, peer)
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


def document(results: Results, name: str, date: str) -> str:
    """The whole report as Markdown."""
    parts = [f"# Benchmark {name}, {date}"]
    if results.works:
        rounds = max((len(rounds) for by_peer in results.samples.values() for rounds in by_peer.values()), default=0)
        first = results.peers[0].title
        parts += [
            f"Medians of {rounds} rounds of {results.seconds:g} s, the peers taking turns. Spread: largest minus "
            f"smallest round of {first}, as a share of its median.",
            figures_table(results),
            f"## {first} beside the others",
            "A ratio of 2 means twice as fast.",
            ratios_table(results),
            "## Where the CPU time goes",
            "Per operation (a request, an echo, a delivery), and as a share of one core during the round. "
            "Others: what else ran on the machine, as a share of one core; far from nothing, the round says little.",
            cpu_table(results),
        ]
    parts += [section.document() for section in results.sections.values()]
    if results.failures:
        failed = [(title, who, why[0]) for title, found in results.failures.items() for who, why in found.items()]
        parts += ["## What failed", "\n".join(f"- {title}, {who}: {why}" for title, who, why in failed)]
    if results.left_out:
        parts += ["## Left out", "\n".join(f"- {who}: {reason}" for who, reason in results.left_out.items())]
    parts += ["## Machine", "\n".join(f"- {fact}: {text}" for fact, text in results.machine.items())]
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> dict[str, Any]:
    """Everything, for programs: no figure in it is rounded."""
    return {
        "machine": results.machine,
        "seconds": results.seconds,
        "works": [
            {**asdict(work), "title": work.title, "reached": [reached for _, reached in results.verdicts(work)]}
            for work in results.works
        ],
        "peers": {peer.name: peer.title for peer in results.peers},
        "samples": {
            title: {peer: [asdict(sample) for sample in rounds] for peer, rounds in by_peer.items()}
            for title, by_peer in results.samples.items()
        },
        "failures": results.failures,
        "left_out": results.left_out,
        "studies": {name: asdict(section) for name, section in results.sections.items()},
    }


def write(results: Results, directory: Path, name: str, date: str) -> Path:
    """Write ``<date>-<name>.md`` and ``.json``; returns the path of the former."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{date}-{name}.md"
    path.write_text(document(results, name, date), encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
    return path
