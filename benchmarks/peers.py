"""Who is measured: the project each one runs, and the processes it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .environments import HERE, python_of

OURS = "millrace"


@dataclass(frozen=True)
class Peer:
    """One stack.

    Attributes:
        name: what ``--peers`` calls it.
        title: its column's heading.
        environment: where it is installed, see `environments`.
        project: directory of the project it runs.
        processes: role → command; ``{bin}`` and ``{port}`` are filled in.
        layer: which channel layer its settings choose.
        middleware: whether they have Django's security and common middleware.
    """

    name: str
    title: str
    environment: str
    project: Path
    processes: Mapping[str, Sequence[str]] = field(hash=False)
    layer: str
    middleware: bool = True

    def command(self, role: str, port: int) -> list[str]:
        """The command line of one of its processes."""
        programs = python_of(self.environment).parent
        return [part.format(bin=programs, port=port) for part in self.processes[role]]


_MILLRACE = {
    "server": ["{bin}/daphne", "project.asgi:channel_layer", "-b", "127.0.0.1", "-p", "{port}", "-v", "0"],
    "worker": ["{bin}/python", "manage.py", "runworker", "-v", "0"],
}
_DAPHNE = {"server": ["{bin}/daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0", "project.asgi:application"]}
_UVICORN = {
    "server": [
        *("{bin}/uvicorn", "project.asgi:application", "--host", "127.0.0.1", "--port", "{port}"),
        *("--log-level", "warning", "--no-access-log"),
    ]
}
_CHANNELS4 = HERE / "project_channels4"

PEERS = {
    peer.name: peer
    for peer in [
        Peer(OURS, "Millrace", "millrace", HERE / "project_millrace", _MILLRACE, "redis"),
        Peer("channels4-daphne", "Channels 4, daphne", "channels4", _CHANNELS4, _DAPHNE, "core"),
        Peer("channels4-uvicorn", "Channels 4, uvicorn", "channels4", _CHANNELS4, _UVICORN, "core"),
        Peer("channels4-pubsub", "Channels 4, uvicorn, pub/sub layer", "channels4", _CHANNELS4, _UVICORN, "pubsub"),
    ]
}
"""All of them, by name."""

DEFAULT = [OURS, "channels4-daphne", "channels4-uvicorn"]
