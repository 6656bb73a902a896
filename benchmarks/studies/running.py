"""Stacks of the studies: ours in other shapes, and the peers beside it."""

from __future__ import annotations

from dataclasses import replace

from ..environments import set_up
from ..peers import OURS, PEERS, Peer
from ..stack import Stack

UVICORN = "channels4-uvicorn"
SPARE_CONNECTIONS = 200


def ours(*, layer: str = "redis", processes: int = 1, connections: int | None = None, workers: bool = True) -> Peer:
    """Millrace with its defaults but for what is given.

    Args:
        layer: ``redis`` or ``sqlite``.
        processes: worker processes.
        connections: how many the server must be able to hold, if that is more than its default.
        workers: leave them out with false.
    """
    peer = PEERS[OURS]
    commands = {role: list(command) for role, command in peer.processes.items()}
    if processes > 1:
        commands["worker"] += ["--processes", str(processes)]
    if connections is not None:
        commands["server"] += ["--max-connections", str(connections + SPARE_CONNECTIONS)]
    if not workers:
        del commands["worker"]
    return replace(peer, layer=layer, processes=commands)


def uvicorn(*arguments: str, application: str = "project.asgi:application") -> Peer:
    """Channels 4 under uvicorn, or another application of its project, with further options of uvicorn."""
    peer = PEERS[UVICORN]
    command = [application if part == "project.asgi:application" else part for part in peer.processes["server"]]
    return replace(peer, processes={"server": [*command, *arguments]})


def started(peer: Peer) -> Stack:
    """A peer's stack, to be entered; its environment is there."""
    set_up(peer.environment)
    return Stack(peer)
