"""The measured peers and their processes, and those of the studies: ours in other shapes, and one beside it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .environments import HERE, NCHAN, OWN, python_of

OURS = "millrace"
HOSTED = "hosted"
KINDS = ["http", "echo", "sync", "group"]
ROUTED = ("http", "echo", "group")
"""Those that are compared in all peers."""
OF_APPLICATIONS = ("echo", "sync", "group")
"""Kinds of work that an application sees when Millrace hosts it; requests to Django go their own way."""

PROJECT = HERE / "project"

SPARE_CONNECTIONS = 200


@dataclass(frozen=True)
class Peer:
    """One stack.

    Attributes:
        name: what ``--peers`` calls it.
        title: its column's heading.
        environment: where it is installed, see `environments`.
        processes: role → command; ``{bin}`` and ``{port}`` are filled in.
        layer: the channel layer that the project's settings choose; without one it needs no Redis.
        kinds: the kinds of work that it can do.
        directory: of its project, in which its processes run.
        before: a command that is run to its end before they start, as one of theirs.
    """

    name: str
    title: str
    environment: str
    processes: Mapping[str, Sequence[str]] = field(hash=False)
    layer: str
    kinds: Sequence[str] = field(default=tuple(KINDS), hash=False)
    directory: Path = PROJECT
    before: Sequence[str] = field(default=(), hash=False)

    def command(self, role: str, port: int) -> list[str]:
        """The command line of one of its processes."""
        return self._filled(self.processes[role], port)

    def preparation(self) -> list[str]:
        """The command line of what is run before; empty if there is nothing."""
        return self._filled(self.before, 0)

    def _filled(self, command: Sequence[str], port: int) -> list[str]:
        programs = python_of(self.environment).parent
        return [part.format(bin=programs, port=port) for part in command]


def _daphne(application: str) -> dict[str, list[str]]:
    return {"server": ["{bin}/daphne", application, "-b", "127.0.0.1", "-p", "{port}", "-v", "0"]}


_APPLICATION = "project.classes:application"
_WORKER = {"worker": ["{bin}/django-admin", "runworker", "-v", "0"]}
_UVICORN = {
    "server": [
        *("{bin}/uvicorn", _APPLICATION, "--host", "127.0.0.1", "--port", "{port}"),
        *("--log-level", "warning", "--no-access-log"),
    ]
}
_BROKERED = {**_daphne("project.layer:channel_layer"), **_WORKER}
_NGINX = {"server": [sys.executable, "-m", "benchmarks.nchan", "{port}"]}

PEERS = {
    peer.name: peer
    for peer in [
        Peer(OURS, "Millrace", OWN, _BROKERED, "redis", ROUTED),
        Peer(
            HOSTED,
            "Channels 4 in Millrace",
            OWN,
            {**_daphne(_APPLICATION), **_WORKER},
            "core",
            OF_APPLICATIONS,
        ),
        Peer("channels1", "Channels 1.1.8", "channels1", _BROKERED, "asgi_redis", ROUTED),
        Peer("channels4-daphne", "Channels 4, daphne", "channels4", _daphne(_APPLICATION), "core", ROUTED),
        Peer("channels4-uvicorn", "Channels 4, uvicorn", "channels4", _UVICORN, "core"),
        Peer("nchan", "nchan (nginx, C)", NCHAN, _NGINX, "", kinds=["group"], directory=HERE.parent),
    ]
}
"""All of them, by name."""


def ours(*, layer: str = "redis", processes: int = 1, connections: int | None = None) -> Peer:
    """Millrace with its defaults but for what is given.

    Args:
        layer: ``redis``, ``sqlite``, ``postgres`` or ``rabbitmq``.
        processes: worker processes.
        connections: how many the server must be able to hold, if that is more than its default.
    """
    peer = PEERS[OURS]
    commands = {role: list(command) for role, command in peer.processes.items()}
    if processes > 1:
        commands["worker"] += ["--processes", str(processes)]
    if connections is not None:
        commands["server"] += ["--max-connections", str(connections + SPARE_CONNECTIONS)]
    return replace(peer, layer=layer, processes=commands)


def uvicorn(application: str = _APPLICATION) -> Peer:
    """Channels 4 under uvicorn, or another application of the project."""
    command = [application if part == _APPLICATION else part for part in _UVICORN["server"]]
    return replace(PEERS["channels4-uvicorn"], processes={"server": command})


def over_postgres() -> list[Peer]:
    """Stacks over one PostgreSQL server: ours, the application for Channels 4 that it hosts, and that under uvicorn."""
    made = ["{bin}/django-admin", "migrate", "channels_postgres", "--database", "channels_postgres", "-v", "0"]
    return [
        ours(layer="postgres"),
        replace(PEERS[HOSTED], layer="postgres_core"),
        replace(
            uvicorn(),
            title="Channels 4, uvicorn, channels_postgres",
            environment="channels4-postgres",
            layer="channels_postgres",
            before=made,
        ),
    ]
