"""A project's web server and workers as real processes, on a port of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType

import pytest

from tests.conftest import close_answer, free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_SECONDS = 90

migrated: dict[str, bytes] = {}
"""Empty databases with all tables, by the name of the settings."""


class Service:
    """One program with its log in a file.

    As a context manager it is killed at the end, if it is still there.

    Args:
        name: what reports call it.
        command: program and arguments.
        environment: added to this process's own.
        directory: where the log goes.
        cwd: where the program runs.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], directory: Path, cwd: Path = ROOT
    ) -> None:
        self.name = name
        self.cwd = cwd
        self.command = command
        self.environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"} | environment
        self.log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, descriptors: tuple[int, ...] = ()) -> None:
        """Start it, with these open descriptors; what it prints goes to the end of the log."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=descriptors,
            )

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """Its process; the test fails if it has ended by itself."""
        assert self.process is not None, f"{self.name} was not started"
        if self.process.poll() is not None:
            pytest.fail(f"{self.name} ended with status {self.process.returncode}\n{self.text()}")
        return self.process

    def stop(self) -> None:
        """Ask it to stop, as a process manager does, and see it end with status 0."""
        self.running.terminate()
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """See it end with status 0, once it was asked to."""
        assert self.process is not None, f"{self.name} was not started"
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} had not ended {STOP_SECONDS} s after SIGTERM\n{self.text()}")
        assert status == 0, f"{self.name} ended with status {status} after SIGTERM\n{self.text()}"
        self.process = None

    def kill(self) -> None:
        """End it and what it started at once, whatever state it is in."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None

    def text(self) -> str:
        """The log so far."""
        return f"--- log of {self.name}:\n{self.log.read_text(errors='replace')}" if self.log.exists() else ""

    def wait_to_say(self, *texts: str, within: float = 60) -> None:
        """Wait until each text is in the log, which a thread writes: it may come after what the process did next."""
        for text in texts:
            wait_until(lambda text=text: text in self.text(), f"{text!r} in\n{self.text()}", within=within)

    def memory(self, field: str) -> int:
        """A figure of ``/proc/<pid>/status`` in bytes, such as ``VmRSS`` (now) or ``VmHWM`` (at its highest)."""
        for line in Path(f"/proc/{self.running.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(field)

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Project:
    """A Django project being served: one ``daphne`` and any number of ``runworker`` processes.

    Args:
        package: the project's package; it has ``settings`` and ``asgi``.
        directory: an empty directory for logs, the database and the layer's file.
        environment: what tells the project its channel layer; it may name other settings.
        workers: how many worker processes.
    """

    def __init__(self, package: str, directory: Path, environment: dict[str, str], workers: int = 2) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = directory / "database.sqlite3"
        self.environment = {
            "DJANGO_SETTINGS_MODULE": f"{package}.settings",
            **environment,
            "DATABASE_PATH": str(self.database),
        }
        manage = [sys.executable, "manage.py"]
        self.manage = manage
        self.web = Service(
            "web", [daphne(), f"{package}.asgi:channel_layer", "-p", str(self.port)], self.environment, directory
        )
        self.workers = [
            Service(f"worker-{number}", [*manage, "runworker"], self.environment, directory)
            for number in range(1, workers + 1)
        ]

    def __enter__(self) -> Project:
        self._migrate()
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _migrate(self) -> None:
        """Make the database: by Django's command once for each settings, as a copy from then on."""
        settings = self.environment["DJANGO_SETTINGS_MODULE"]
        if settings not in migrated:
            command = [*self.manage, "migrate", "-v0"]
            subprocess.run(command, cwd=ROOT, env=os.environ | self.environment, check=True, timeout=300)
            migrated[settings] = self.database.read_bytes()
        self.database.write_bytes(migrated[settings])

    def start(self) -> None:
        """Start everything and wait until a page comes all the way from a worker."""
        self.web.start()
        self.start_workers()
        self.wait_for_page()

    def start_workers(self) -> None:
        """Start all workers."""
        for worker in self.workers:
            worker.start()

    def stop_workers(self) -> None:
        """Stop all workers, each with status 0."""
        for worker in self.workers:
            worker.running.terminate()
        for worker in self.workers:
            worker.wait_for_end()

    def wait_for_page(self, path: str = "/") -> None:
        """Wait until the page answers with 200."""
        wait_until(lambda: self._answers(path), f"{self.url}{path} answering\n{self.logs()}")

    def _answers(self, path: str) -> bool:
        for service in (self.web, *self.workers):
            assert service.running
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as response:
                return bool(response.status == 200)
        except OSError as error:
            close_answer(error)
            return False

    def logs(self) -> str:
        """All logs so far."""
        return "\n".join(service.text() for service in (self.web, *self.workers))

    def wait_to_say(self, *texts: str, within: float = 60) -> None:
        """Wait until each text is in one of the logs; see `Service.wait_to_say`."""
        for text in texts:
            wait_until(lambda text=text: text in self.logs(), f"{text!r} in\n{self.logs()}", within=within)

    def kill(self) -> None:
        """End everything at once."""
        for service in (self.web, *self.workers):
            service.kill()


def daphne() -> str:
    """Path of the installed command."""
    path = shutil.which("daphne", path=str(Path(sys.executable).parent)) or shutil.which("daphne")
    if path is None:
        pytest.fail("the command daphne is not installed: pip install --editable '.[test]'")
    return path
