"""Tests of benchmarks.studies.idle."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.studies.idle import idle_shares


class Stack:
    """Two processes: one waits, the other calculates."""

    def __init__(self, **processes: subprocess.Popen[bytes]) -> None:
        self.processes = processes

    def check(self) -> None:
        """Nothing ends."""


def test_a_share_is_that_of_each_process_in_each_piece_of_the_time() -> None:
    def python(code: str) -> Any:
        command = [sys.executable, "-c", f"print(flush=True)\n{code}"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with python("input()") as server, python("while True: pass") as worker:
        for process in (server, worker):
            process.stdout.readline()
        try:
            shares = idle_shares(Stack(server=server, worker=worker), 2, 0.2)  # type: ignore[arg-type]
        finally:
            for process in (server, worker):
                process.kill()
    assert {role: len(each) for role, each in shares.items()} == {"server": 2, "worker": 2}
    assert max(shares["server"]) < max(shares["worker"])
