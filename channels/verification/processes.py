"""The processes of a verification: web servers, workers and, on request, a broker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .plan import LAYER, VerificationError, environment

STOP_SECONDS = 40.0
READY_SECONDS = 60.0

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A program whose output goes to a file. Started when it is made.

    Args:
        name: of the file, and in errors.
        command: program and arguments.
        directory: where the file is.
        variables: the program's environment.
    """

    def __init__(self, name: str, command: list[str], directory: Path, variables: dict[str, str]) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ask the process to stop, and wait.

        Raises:
            VerificationError: it does not.
        """
        self.send(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise VerificationError(
                f"{self.name} has not ended {STOP_SECONDS:g} s after SIGTERM; see {self._log}"
            ) from None

    def kill(self) -> None:
        """End the process at once, whatever state it is in, and wait."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def wait_for(self, text: str) -> None:
        """Wait until the process has written a text.

        Raises:
            VerificationError: it has ended, or takes too long.
        """
        deadline = time.monotonic() + READY_SECONDS
        while text not in (output := self._log.read_text(errors="replace")):
            if self._process.poll() is not None:
                last = output.strip().rpartition("\n")[2] or f"status {self._process.returncode}"
                raise VerificationError(f"{self.name} ended: {last}")
            if time.monotonic() > deadline:
                raise VerificationError(f"{self.name} was not ready after {READY_SECONDS:g} s; see {self._log}")
            time.sleep(0.02)


class Cast:
    """Two web servers and two workers.

    Args:
        plan: see `channels.verification.plan`.
        directory: for their output.
        broker: server of their own, if they have one. Who has made it ends it.
        cut: cuts all connections to the broker, if that is possible.

    Attributes:
        webs: the servers, by their ports.
        workers: the workers.
    """

    def __init__(
        self, plan: str, directory: Path, broker: Broker | None, cut: Callable[[], None] | None = None
    ) -> None:
        self.broker = broker
        self.cut = cut
        self.webs: dict[int, Process] = {}
        self.workers: list[Process] = []
        self._plan = plan
        self._directory = directory
        self._count = 0

    def begin(self) -> None:
        """Start all of them, and wait until they are ready."""
        workers = [self.start_worker() for _ in range(2)]
        webs = [self.start_web(free_port()) for _ in range(2)]
        for process in workers:
            process.wait_for("it listens on")
        for process in webs:
            process.wait_for("Listening on")

    def start_worker(self) -> Process:
        """Start a worker; returns at once."""
        worker = self._start("worker", [sys.executable, "-m", "django", "runworker"])
        self.workers.append(worker)
        return worker

    def start_web(self, port: int) -> Process:
        """Start a web server; returns at once."""
        command = [sys.executable, "-m", "interface_server.cli", LAYER, "-b", HOST, "-p", str(port), "--access-log", ""]
        web = self.webs[port] = self._start("web", command)
        return web

    def _start(self, kind: str, command: list[str]) -> Process:
        self._count += 1
        return Process(f"{kind}-{self._count}", command, self._directory, environment(self._plan))

    def end(self) -> None:
        """Kill whatever is left."""
        for process in (*self.webs.values(), *self.workers):
            process.kill()


class Broker:
    """A Redis server that keeps nothing, on a free port.

    Raises:
        VerificationError: there is no ``redis-server``, or it does not start.
    """

    def __init__(self, directory: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise VerificationError("--own-redis needs redis-server or valkey-server, and neither is on the PATH")
        self.port = free_port()
        self._directory = directory
        self._command = [program, "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        self._count = 0
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start it, empty."""
        self._count += 1
        self._process = Process(f"redis-{self._count}", self._command, self._directory, dict(os.environ))
        self._process.wait_for("eady to accept connections")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send(number)

    def cut(self) -> None:
        """Have it close all connections."""
        with socket.create_connection((HOST, self.port), 5) as connection:
            connection.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
            connection.recv(100)
