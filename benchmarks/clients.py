"""Client processes: started with an order, told to begin, asked for their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import Any

from .crowd import Order
from .environments import HERE
from .stack import Stack


class Client:
    """A client process with its sockets open; a context manager.

    Raises:
        RoundError: on entering, and from `result`: the client could not carry out its order.
    """

    def __init__(self, stack: Stack, kind: str, **options: Any) -> None:
        self._stack = stack
        self._order = Order(kind, stack.port, **options)

    def __enter__(self) -> Client:
        command = [sys.executable, "-m", "benchmarks.crowd", json.dumps(asdict(self._order))]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=HERE.parent, stdin=pipe, stdout=pipe, text=True)
        with ExitStack() as failed:
            failed.callback(self.__exit__)
            self._answer("ready")
            failed.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go(self) -> None:
        """Begin the load, again if it has ended (end it, if it holds idle sockets); returns at once."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and what it said is for `result`
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for the end of the load and return its figures."""
        said = self._answer()
        self._stack.check()
        return said

    def run(self) -> dict[str, Any]:
        """`go` and `result`."""
        self.go()
        return self.result()

    def _answer(self, ready: str = "") -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise self._stack.failure("the client ended without a word")
        said: dict[str, Any] = {} if line == ready else json.loads(line)
        if "error" in said:
            raise self._stack.failure(said["error"])
        return said


def once(stack: Stack, kind: str, **options: Any) -> dict[str, Any]:
    """Open a client's sockets, run its load, close them; returns its figures."""
    with Client(stack, kind, **options) as client:
        return client.run()
