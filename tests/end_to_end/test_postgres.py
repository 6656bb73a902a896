"""PostgreSQL behind a pooler: daphne and workers as real processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.conftest import running_pgbouncer
from tests.end_to_end.processes import Project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("process", ["daphne", "runworker"])
def test_behind_a_pooler_that_loses_notifications_nobody_starts_and_one_sentence_says_what_to_do(
    postgres_dsn: str, tmp_path: Path, process: str, mode: str
) -> None:
    package = "tests.fixtures.sockets_project"
    with running_pgbouncer(postgres_dsn, mode) as dsn:
        project = Project(package, tmp_path, {"REDIS_URL": "", "POSTGRES_DSN": dsn, "ENDS": ""}, workers=1)
        service = project.web if process == "daphne" else project.workers[0]
        result = subprocess.run(
            service.command, env=service.environment, cwd=service.cwd, capture_output=True, text=True, timeout=120
        )
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert "LISTEN does not work at 127.0.0.1:" in line
    assert line.endswith(
        ": set PgBouncer's pool_mode to session for this user, or give the address of PostgreSQL itself in CONFIG "
        "(dsn)."
    )


def test_behind_a_pooler_that_keeps_connections_everything_goes_through(postgres_dsn: str, tmp_path: Path) -> None:
    with running_pgbouncer(postgres_dsn, "session") as dsn:
        environment = {"REDIS_URL": "", "POSTGRES_DSN": dsn, "ENDS": str(tmp_path / "ends")}
        with (
            Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1) as project,
            connect(f"ws://127.0.0.1:{project.port}/") as socket,
        ):
            socket.send("through")
            assert socket.recv(60) == "through"
