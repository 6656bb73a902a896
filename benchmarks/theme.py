"""The picture's colours: named in the SVG, with a value each for light and for dark surroundings."""

from __future__ import annotations

COLOURS = {
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9198a1"),
    "ours": ("#0969da", "#4493f8"),
    "theirs": ("#b7bfc8", "#565e67"),
}
"""Name → colour in light and in dark surroundings; each light one is used for nothing else."""


def colour(name: str) -> str:
    """The light colour, which stands for its name until `themed`."""
    return COLOURS[name][0]


def themed(svg: str) -> str:
    """The same picture with its colours by name, and a style that gives them for light and dark."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    light, dark = (";".join(f"--{name}:{pair[place]}" for name, pair in COLOURS.items()) for place in (0, 1))
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}\n {style}{svg[start:]}"
