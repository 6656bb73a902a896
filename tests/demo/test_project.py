"""The demo as a Django project; its own tests are in ``demo/*/tests.py``, as in any project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import ROOT


def manage(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "DATABASE_PATH": str(directory / "database.sqlite3"),
        "CHANNEL_FILE": str(directory / "layer.sqlite3"),
        "REDIS_URL": "",
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | own | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.slow
def test_its_own_tests_pass(tmp_path: Path) -> None:
    result = manage(tmp_path, "test", "demo")
    assert result.returncode == 0, result.stderr
    assert "\nOK" in result.stderr


def test_its_migrations_are_complete(tmp_path: Path) -> None:
    result = manage(tmp_path, "makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    "broker",
    [{}, {"REDIS_URL": "redis://localhost:6379/0"}, {"POSTGRES_DSN": "postgresql://localhost/demo"}],
    ids=["sqlite", "redis", "postgres"],
)
def test_it_passes_djangos_checks(tmp_path: Path, broker: dict[str, str]) -> None:
    result = manage(tmp_path, "check", "--fail-level", "WARNING", **broker)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("cert_reqs", "expected"), [("none", "CERT_NONE"), ("", "CERT_REQUIRED")])
def test_a_self_signed_certificate_is_trusted_only_if_the_environment_says_so(
    tmp_path: Path, cert_reqs: str, expected: str
) -> None:
    show = (
        "from channels.configured_layers import channel_layers;"
        "pool = channel_layers['default'].channel_layer._hosts[0].connect_sync();"
        "print(pool.cert_reqs.name)"
    )
    result = manage(tmp_path, "shell", "-c", show, REDIS_URL="rediss://localhost:1/0", REDIS_CERT_REQS=cert_reqs)
    assert result.stdout.splitlines()[-1:] == [expected], result.stderr


def test_without_debug_it_asks_for_a_secret_key_in_a_sentence(tmp_path: Path) -> None:
    result = manage(tmp_path, "check", DEBUG="0", SECRET_KEY="")
    assert result.returncode != 0
    assert "DEBUG is off and SECRET_KEY is not set" in result.stderr


def test_static_files_are_collected(tmp_path: Path) -> None:
    result = manage(tmp_path, "collectstatic", "--dry-run", "--no-input")
    assert result.returncode == 0, result.stderr
    assert "static file" in result.stdout


def test_every_file_a_page_asks_for_is_there() -> None:
    for script in (ROOT / "demo").rglob("static/**/*.js"):
        folder = script.parent
        for line in script.read_text().splitlines():
            if line.startswith("import "):
                name = line.split('"')[1]
                beside = (folder / name).resolve()
                of_project = ROOT / "demo" / "static" / name.removeprefix("../")
                assert beside.exists() or of_project.exists(), f"{script.name}: {name}"


def test_the_procfile_is_what_the_documentation_says() -> None:
    procfile = (ROOT / "Procfile").read_text()
    assert procfile.splitlines() == [
        "web: daphne demo.asgi:channel_layer --port $PORT --bind 0.0.0.0",
        "worker: python manage.py runworker",
        "prices: python manage.py tick_prices",
    ]
    assert procfile in (ROOT / "docs" / "deploying.md").read_text()
