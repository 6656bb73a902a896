"""A project for Channels 4, served by real processes whose workers are replaced while sockets are open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.conftest import wait_until
from tests.end_to_end.processes import Project, Service

SECONDS = 60


class Site:
    """The project, and ways to replace its workers."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._count = 0

    @property
    def worker(self) -> Service:
        return self.project.workers[0]

    @property
    def pid(self) -> int:
        return self.worker.running.pid

    def deploy(self) -> None:
        """Start a new worker, and then stop the old one."""
        self.replace().wait_for_end()

    def replace(self) -> Service:
        """Start a new worker, and then ask the old one to stop; returns that."""
        old = self.worker
        self.project.workers[0] = new = self._another()
        wait_until(lambda: "it listens on" in new.text(), f"the new worker\n{self.project.logs()}")
        old.running.terminate()
        return old

    def add_worker(self) -> None:
        """Start one more, and see it ready."""
        new = self._another()
        self.project.workers.append(new)
        wait_until(lambda: "it listens on" in new.text(), f"the new worker\n{self.project.logs()}")

    def kill(self, number: int) -> None:
        """End a worker with SIGKILL, and start one in its place."""
        new = self._another()
        self.project.workers[number].kill()
        self.project.workers[number] = new

    def _another(self) -> Service:
        old = self.worker
        self._count += 1
        name = f"{old.name.partition('+')[0]}+{self._count}"
        new = Service(name, old.command, self.project.environment, old.log.parent)
        new.start()
        return new

    def open(self, path: str, origin: str = "http://localhost", **options: Any) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.project.port}{path}"
        return connect(url, origin=Origin(origin), close_timeout=1, legacy=True, **options)


@contextmanager
def serving(package: str, redis_url: str, directory: Path) -> Iterator[Site]:
    """A project as a site, with one worker that has a grace period of six seconds."""
    project = Project(package, directory, {"REDIS_URL": redis_url}, workers=1)
    project.web.command[1] = f"{package}.asgi:application"
    project.workers[0].command += ["--grace", "6"]
    with project:
        yield Site(project)
