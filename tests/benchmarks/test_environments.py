"""Tests of benchmarks.environments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments
from benchmarks.environments import (
    ENVIRONMENTS,
    Environment,
    MissingError,
    Nginx,
    interpreter,
    nginx_from,
    set_up,
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run, all of them with success."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environments.subprocess, "run", run)
    return commands


def test_this_interpreter_serves_what_takes_any():
    assert interpreter(None) == interpreter((99, 0)) == sys.executable


def test_an_older_interpreter_is_looked_for_by_name(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert interpreter((3, 9)) == "python3.9"
    assert ran == [["python3.9", "-c", ""]]


def test_an_interpreter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: None)
    with pytest.raises(MissingError, match=r"needs Python 3\.9, and there is no python3\.9 on the path"):
        interpreter((3, 9))


def test_old_packages_are_built_with_the_setuptools_that_came_before(
    ran: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(environments, "HOMES", tmp_path)
    monkeypatch.setitem(ENVIRONMENTS, "old", Environment(["old==1"], before=["setuptools<66"]))
    for _ in range(2):  # the second time finds it made
        set_up("old")
    made, first, second = ran
    assert made[1:] == ["-m", "venv", "--clear", str(tmp_path / "old")]
    assert (first[-1], "--no-build-isolation" in first) == ("setuptools<66", False)
    assert second[-3:] == ["--no-build-isolation", "setuptools<66", "old==1"]


def test_channels_1_runs_with_its_own_django_on_a_python_it_knows():
    wanted = ENVIRONMENTS["channels1"].packages
    assert [each for each in wanted if each.lower().startswith("django")] == ["Django==2.2.28"]
    assert ENVIRONMENTS["channels1"].newest == (3, 11)


SAID = "nginx version: nginx/1.22.1\nconfigure arguments: --prefix=/usr/share/nginx --modules-path={}"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A machine without the programs, whose user may not install any; the list holds what apt was asked to do."""
    asked: list[list[str]] = []
    monkeypatch.setattr(environments.shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(environments.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(environments.subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(environments, "_tried", set())
    return asked


def test_nginx_loads_the_module_that_lies_among_its_modules(tmp_path: Path):
    (tmp_path / "ngx_nchan_module.so").touch()
    assert nginx_from("/usr/sbin/nginx", SAID.format(tmp_path)) == Nginx(
        "/usr/sbin/nginx", tmp_path / "ngx_nchan_module.so", "1.22.1"
    )


def test_nginx_without_the_module_will_not_do(tmp_path: Path):
    assert nginx_from("/usr/sbin/nginx", SAID.format(tmp_path)) is None
    assert nginx_from("/usr/sbin/nginx", "nginx version: nginx/1.27.0") is None


def test_a_module_that_is_compiled_in_needs_no_loading():
    said = "nginx version: nginx/1.27.0\nconfigure arguments: --add-module=/build/nchan-1.3.7"
    assert nginx_from("/opt/nginx", said) == Nginx("/opt/nginx", None, "1.27.0")


def test_who_may_not_install_is_told_what_to_install(nothing_installed: list[list[str]]):
    with pytest.raises(MissingError, match="sudo apt-get install redis-server"):
        environments.program("redis-server")
    with pytest.raises(MissingError, match="sudo apt-get install nginx libnginx-mod-nchan"):
        environments.nginx()
    with pytest.raises(MissingError, match="sudo apt-get install wrk"):
        environments.program("wrk")
    assert nothing_installed == []


def test_root_asks_apt_once(nothing_installed: list[list[str]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        environments.shutil, "which", lambda name, path=None: f"/usr/bin/{name}" * (name == "apt-get") or None
    )
    for _ in range(2):
        with pytest.raises(MissingError):
            environments.program("wrk")
    assert [command[-1] for command in nothing_installed] == ["update", "wrk"]
