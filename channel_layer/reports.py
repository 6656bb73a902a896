"""Reports of processes: what each says of itself every few seconds, kept by the layer for those who ask.

A report is a dict like the content of a message. The layer does not look into it; `workers` and `interface_server` say
what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

REPORTS: Final = "reports"
"""Name of the extension: ``publish_report``, ``apublish_report``, ``reports`` and ``areports`` of `ChannelLayer`."""

KEEP_SECONDS: Final = 300.0
"""Time for which the last report of a process is kept. A process that was killed can be looked at for so long."""


class Report(NamedTuple):
    """The last report of a process.

    Attributes:
        name: of the process.
        content: what it said.
        age: seconds since it said so, by the broker's clock.
    """

    name: str
    content: Mapping[str, Any]
    age: float
