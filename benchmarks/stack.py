"""A peer's processes and its Redis: started on free ports of the loopback interface, and stopped again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from .environments import HERE, OWN, program, set_up
from .machine import cpu_seconds
from .peers import Peer

START_SECONDS = 30.0
STOP_SECONDS = 5.0


class RoundError(Exception):
    """A round that could not be carried through; the text says what went wrong."""


class StackError(Exception):
    """A process did not start, or ended by itself; the text holds the end of its output."""


class Stack:
    """A running peer, installed before if it is not yet; a context manager. Whatever ends the block, it is stopped.

    Attributes:
        port: where its server listens.
        redis_port: where its Redis listens; 0 if it needs none.
        processes: role → process, ``redis`` among them if it needs one.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.port = 0
        self.redis_port = 0
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending: list[subprocess.Popen[bytes]] = []
        self._directory = tempfile.TemporaryDirectory(prefix="millrace-bench-")

    def __enter__(self) -> Stack:
        with ExitStack() as failed:
            failed.callback(self.stop)
            self._start()
            failed.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def cpu(self) -> dict[str, float]:
        """CPU seconds that each role has used since it started."""
        return {role: cpu_seconds(process.pid) for role, process in self.processes.items()}

    def check(self) -> None:
        """Raise `StackError` if a process has ended."""
        for role, process in self.processes.items():
            if process.poll() is not None:
                raise StackError(f"{self.peer.title}: {role} ended with {process.returncode}: {self.said(role)}")

    def said(self, role: str, lines: int = 15) -> str:
        """The end of what a process printed."""
        text = self._log(role).read_text(errors="replace").strip().splitlines()
        return "\n".join(text[-lines:]) or "(no output)"

    def failure(self, reason: str) -> RoundError:
        """Make the error of a round that failed, with the last words of the server."""
        return RoundError(f"{self.peer.title}: {reason}; its server said: {self.said('server', 1)}")

    def settle(self, seconds: float = 20.0) -> None:
        """Wait until the last load has been cleaned up: no process uses more than a few percent of a core."""
        deadline = time.monotonic() + seconds
        pause = 0.25
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(pause)
            if all(used - before[role] <= 0.08 * pause + 0.01 for role, used in self.cpu().items()):
                return

    def stop(self) -> None:
        """Stop what runs, the server first, Redis last; by force after `STOP_SECONDS`."""
        order = ["server", "worker", "redis"]
        roles = sorted(self.processes, key=lambda role: order.index(role.split()[0]))
        for process in [*(self.processes.pop(role) for role in roles), *self._ending]:
            with suppress(subprocess.TimeoutExpired):
                process.terminate()
                process.wait(STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # itself, if it is still there, and what it left behind
            process.wait()
        self._directory.cleanup()

    def start(self, role: str, number: int) -> None:
        """Start another process of a role, which is called by the role and this number from then on."""
        self._spawn(f"{role} {number}", self.peer.command(role, self.port), self._environment())

    def end(self, name: str, sign: signal.Signals) -> None:
        """Send a process a signal that ends it; the stack does without it."""
        process = self.processes.pop(name)
        process.send_signal(sign)
        self._ending.append(process)

    def replace(self, role: str, number: int) -> None:
        """Deploy: ask the first process of a role to stop, and start another."""
        self.end(role, signal.SIGTERM)
        self.start(role, number)

    def succeed(self, role: str, number: int) -> None:
        """Start another process of a role, and have the first one end by itself once that has taken over from it."""
        self.start(role, number)
        self._ending.append(self.processes.pop(role))

    def seconds_of(self, name: str, what: str) -> float:
        """The seconds that a process says it took for something, as the last line about it ends: ``in 1.25 s``."""
        found = re.findall(rf"{what}.* in ([0-9.]+) s$", self._log(name).read_text(errors="replace"), re.MULTILINE)
        if not found:
            raise StackError(f"{self.peer.title}: {name} did not say that it {what.lower()}: {self.said(name)}")
        return float(found[-1])

    def _start(self) -> None:
        set_up(self.peer.environment)
        if self.peer.layer:
            self.redis_port = free_port()
            self._spawn("redis", redis_command(self.redis_port, self._directory.name), dict(os.environ))
            self._wait("redis", lambda: redis_answers(self.redis_port))
        self.port = free_port()
        environment = self._environment()
        if self.peer.before:
            self._prepare(environment)
        for role in self.peer.processes:
            self._spawn(role, self.peer.command(role, self.port), environment)
        self._wait("server", lambda: _page_answers(self.port))

    def _prepare(self, environment: dict[str, str]) -> None:
        try:
            subprocess.run(
                self.peer.preparation(),
                cwd=self.peer.directory, env=environment, check=True, capture_output=True, text=True,
                timeout=START_SECONDS,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            last = (error.stderr or error.stdout).strip().rpartition("\n")[2]
            raise StackError(f"{self.peer.title}: {error.cmd[0]} ended with {error.returncode}: {last}") from error
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{self.peer.title}: {error.cmd[0]} has not ended in {START_SECONDS:.0f} s") from error

    def _environment(self) -> dict[str, str]:
        paths = [self.peer.directory]
        if self.peer.environment == OWN:
            paths.append(HERE.parent)  # the peers must not find our packages: two have the same names
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "BENCH_DIRECTORY": self._directory.name,
            "BENCH_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "BENCH_LAYER": self.peer.layer,
        }

    def _spawn(self, role: str, command: list[str], environment: dict[str, str]) -> None:
        with open(self._log(role), "wb") as output:
            # A session of its own: Ctrl-C reaches this process alone, which then stops them in order.
            self.processes[role] = subprocess.Popen(
                command,
                cwd=self.peer.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, role: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                said = " / ".join(f"{each}: {self.said(each)}" for each in self.processes)
                raise StackError(f"{self.peer.title}: {role} did not answer in {START_SECONDS:.0f} s; {said}")
            time.sleep(0.05)

    def _log(self, role: str) -> Path:
        return Path(self._directory.name) / f"{role}.log"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def redis_command(port: int, directory: str) -> list[str]:
    """The command for a Redis without persistence, reachable from this machine only."""
    listening = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
    return [*listening, "--save", "", "--appendonly", "no", "--dir", directory]


def redis_answers(port: int) -> bool:
    """True if a Redis on this port can be asked."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _page_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            return answer.status == 200
    except OSError:  # or a status that says no
        return False
