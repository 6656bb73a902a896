"""The report: figures, ratios with their targets, where the CPU time went, and what the studies found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .figures import advantage, markdown, median, rate_text, ratio_text, spread, time_text
from .peers import OURS, PEERS, Peer
from .section import Section
from .targets import Target, verdict
from .works import Sample, Work


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

    def leave_out(self, peer: Peer, reason: str) -> None:
        """Go on without a peer."""
        self.peers.remove(peer)
        self.left_out[peer.name] = reason

    def of(self, work: Work, peer_name: str) -> list[Sample]:
        """The rounds of one peer at one work."""
        return self.samples.get(work.title, {}).get(peer_name, [])

    def figure(self, work: Work, peer_name: str) -> float | None:
        """The median over the rounds: of the rate, or of the median latency."""
        return median(_values(work, self.of(work, peer_name)))

    def ratios(self, work: Work) -> dict[str, float | None]:
        """Ratios of the first peer to each of the others that can do this work."""
        first, *others = self.peers
        ours = self.figure(work, first.name)
        return {
            peer.name: advantage(ours, self.figure(work, peer.name), lower_is_better=work.latency)
            for peer in others
            if work.kind in peer.kinds
        }

    def verdicts(self, work: Work) -> list[tuple[Target, bool | None]]:
        """The targets of a work, which are Millrace's, and whether they are reached."""
        first = self.peers[0]
        if first.name != OURS:
            return []
        figure, ratios = self.figure(work, first.name), self.ratios(work)
        return [(target, target.reached(figure, ratios)) for target in work.targets]


def _values(work: Work, samples: list[Sample]) -> list[float | None]:
    return [sample.p50 if work.latency else sample.rate for sample in samples]


def figure_text(work: Work, value: float | None) -> str:
    """A figure in its unit."""
    return time_text(value) if work.latency else rate_text(value)


def figures_table(results: Results) -> str:
    """Medians of all peers; an empty cell where one cannot do a work, a dash where it failed."""
    lines = [["work", *(peer.title for peer in results.peers), "spread"]]
    for work in results.works:
        cells = [
            figure_text(work, results.figure(work, peer.name)) if work.kind in peer.kinds else ""
            for peer in results.peers
        ]
        apart = spread(_values(work, results.of(work, results.peers[0].name)))
        lines.append([work.title, *cells, "" if apart is None else f"{apart:.0%}"])
    return markdown(lines)


def ratios_table(results: Results) -> str:
    """Ratios of the first peer to each of the others, its targets, and whether they are reached."""
    titles = {peer.name: peer.title for peer in PEERS.values()}
    others = results.peers[1:]
    lines = [["work", *(f"to {peer.title}" for peer in others), "target", "reached"]]
    for work in results.works:
        ratios, verdicts = results.ratios(work), results.verdicts(work)
        cells = [ratio_text(ratios[peer.name]) if peer.name in ratios else "" for peer in others]
        targets = "; ".join(f"{target.text(titles)}: {verdict(reached)}" for target, reached in verdicts)
        known = [reached for _, reached in verdicts if reached is not None]
        lines.append([work.title, *cells, targets, f"{sum(known)} of {len(known)}" if known else ""])
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


def document(results: Results, name: str, date: str) -> str:
    """The whole report as Markdown."""
    parts = [f"# Benchmark {name}, {date}"]
    if results.works:
        parts += _comparison(results)
    parts += [section.document() for section in results.sections.values()]
    if results.failures:
        failed = [
            f"- {title}, {who}: {reasons[0]}"
            for title, by_name in results.failures.items()
            for who, reasons in by_name.items()
        ]
        parts += ["## What failed", "\n".join(failed)]
    if results.left_out:
        parts += ["## Left out", "\n".join(f"- {who}: {reason}" for who, reason in results.left_out.items())]
    parts += ["## Machine", "\n".join(f"- {fact}: {text}" for fact, text in results.machine.items())]
    return "\n\n".join(parts) + "\n"


def _comparison(results: Results) -> list[str]:
    rounds = max((len(rounds) for by_peer in results.samples.values() for rounds in by_peer.values()), default=0)
    first = results.peers[0].title
    return [
        f"Medians of {rounds} rounds of {results.seconds:g} s, the peers taking turns. Spread: largest minus smallest "
        f"round of {first}, as a share of its median.",
        figures_table(results),
        f"## {first} beside the others",
        "A ratio of 2 means twice as fast.",
        ratios_table(results),
        "## Where the CPU time goes",
        "Per operation (a request, an echo, a delivery), and as a share of one core during the round. "
        "Others: what else ran on the machine, as a share of one core; far from nothing, the round says little.",
        cpu_table(results),
    ]


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
