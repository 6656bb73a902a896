"""Target of a figure: a ratio to a peer's, or a time."""

from __future__ import annotations

from dataclasses import dataclass

from .figures import time_text


@dataclass(frozen=True)
class Target:
    """One condition.

    Attributes:
        least: the ratio to the peer's figure that is to be reached; 2 is twice as fast.
        peer: name of the peer that is compared with.
        seconds: in their place, the longest time that is allowed.
    """

    least: float = 0.0
    peer: str = ""
    seconds: float = 0.0

    def reached(self, figure: float | None, ratios: dict[str, float | None]) -> bool | None:
        """Tell if it is reached; ``None`` if a figure for it is missing.

        Args:
            figure: what was measured, seconds if the target is a time.
            ratios: peer's name → how many times as good the figure is as that peer's.
        """
        if self.seconds:
            return None if figure is None else figure <= self.seconds
        ratio = ratios.get(self.peer)
        return None if ratio is None else ratio >= self.least

    def text(self, titles: dict[str, str]) -> str:
        """The condition as it stands in the table; titles of peers by their names."""
        if self.seconds:
            return f"≤ {time_text(self.seconds)}"
        return f"≥ {self.least:g} × {titles.get(self.peer, self.peer)}"


def within(seconds: float) -> tuple[Target, ...]:
    """A target in seconds."""
    return (Target(seconds=seconds),)


def times(**least: float) -> tuple[Target, ...]:
    """Targets in ratios to peers, whose names are written with ``_`` for ``-``."""
    return tuple(Target(ratio, name.replace("_", "-")) for name, ratio in least.items())


def verdict(reached: bool | None) -> str:
    """In a word."""
    return {True: "reached", False: "missed", None: "not measured"}[reached]
