"""The measured peers: their projects and their processes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .environments import HERE, NCHAN, OWN, python_of

OURS = "millrace"
KINDS = ["http", "echo", "group"]


@dataclass(frozen=True)
class Peer:
    """One stack.

    Attributes:
        name: what ``--peers`` calls it.
        title: its column's heading.
        environment: where it is installed, see `environments`.
        project: directory of its project, in which its processes run.
        processes: role → command; ``{bin}`` and ``{port}`` are filled in.
        layer: the channel layer that its settings choose.
        kinds: the kinds of work that it can do.
        redis: whether it needs one.
    """

    name: str
    title: str
    environment: str
    project: Path
    processes: Mapping[str, Sequence[str]] = field(hash=False)
    layer: str
    kinds: Sequence[str] = field(default=tuple(KINDS), hash=False)
    redis: bool = True

    def command(self, role: str, port: int) -> list[str]:
        """The command line of one of its processes."""
        programs = python_of(self.environment).parent
        return [part.format(bin=programs, port=port) for part in self.processes[role]]


_BROKERED = {
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
_HOSTED = {
    "server": ["{bin}/daphne", "project.asgi:application", "-b", "127.0.0.1", "-p", "{port}", "-v", "0"],
    "worker": ["{bin}/django-admin", "runworker", "-v", "0", "--settings", "project.settings", "--pythonpath", "."],
}
_NGINX = {"server": [sys.executable, "-m", "benchmarks.nchan", "{port}"]}
_MILLRACE = HERE / "project_millrace"
_CHANNELS4 = HERE / "project_channels4"

PEERS = {
    peer.name: peer
    for peer in [
        Peer(OURS, "Millrace", OWN, _MILLRACE, _BROKERED, "redis"),
        Peer("hosted", "Millrace, the application for Channels 4", OWN, _CHANNELS4, _HOSTED, "redis"),
        Peer("channels1", "Channels 1.1.8", "channels1", _MILLRACE, _BROKERED, "asgi_redis"),
        Peer("channels4-daphne", "Channels 4, daphne", "channels4", _CHANNELS4, _DAPHNE, "core"),
        Peer("channels4-uvicorn", "Channels 4, uvicorn", "channels4", _CHANNELS4, _UVICORN, "core"),
        Peer("nchan", "nchan (nginx, C)", NCHAN, HERE.parent, _NGINX, "", kinds=["group"], redis=False),
    ]
}
"""All of them, by name."""
