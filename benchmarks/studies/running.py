"""What the studies start: our stack in other shapes, the peers beside it, and clients that wait for their turn."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any

from ..crowd.order import Order
from ..environments import HERE, set_up
from ..peers import OURS, PEERS, Peer
from ..stack import Stack
from ..works import RoundError

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


class Client:
    """A client process with its sockets open; a context manager.

    Raises:
        RoundError: when entered or asked: the client could not do what it was told; the text says why.
    """

    def __init__(self, stack: Stack, kind: str, **options: Any) -> None:
        self._stack = stack
        self._order = Order(kind, stack.port, **options)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Client:
        command = [sys.executable, "-m", "benchmarks.crowd", json.dumps(asdict(self._order))]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=HERE.parent, stdin=pipe, stdout=pipe, text=True)
        try:
            first = self._line()
            if first != "ready":
                self._fail(json.loads(first)["error"])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def go(self) -> None:
        """Let the load begin, again if it has ended (or, of one that holds sockets, end it); returns at once."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it measured; waits for the end of the load."""
        said: dict[str, Any] = json.loads(self._line())
        if "error" in said:
            self._fail(said["error"])
        self._stack.check()
        return said

    def run(self) -> dict[str, Any]:
        """`go` and `result`."""
        self.go()
        return self.result()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            self._fail("the client ended without a word")
        return line

    def _fail(self, reason: str) -> None:
        server = self._stack.said("server", 1)
        raise RoundError(f"{self._stack.peer.title}, {self._order.kind}: {reason}; its server said: {server}")


def once(stack: Stack, kind: str, **options: Any) -> dict[str, Any]:
    """Open a client's sockets, run its load, close them; returns what it measured."""
    with Client(stack, kind, **options) as client:
        return client.run()
