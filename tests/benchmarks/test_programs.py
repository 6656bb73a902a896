"""Tests of benchmarks.programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import programs
from benchmarks.programs import MissingError, Nginx, nginx_from

SAID = "nginx version: nginx/1.22.1\nconfigure arguments: --prefix=/usr/share/nginx --modules-path={}"


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A machine without the programs, whose user may not install any; the list holds what apt was asked to do."""
    asked: list[list[str]] = []
    monkeypatch.setattr(programs.shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(programs.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(programs.subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(programs, "_tried", set())
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
        programs.redis_server()
    with pytest.raises(MissingError, match="sudo apt-get install nginx libnginx-mod-nchan"):
        programs.nginx()
    with pytest.raises(MissingError, match="sudo apt-get install wrk"):
        programs.wrk()
    assert nothing_installed == []


def test_root_asks_apt_once(nothing_installed: list[list[str]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(programs.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        programs.shutil, "which", lambda name, path=None: f"/usr/bin/{name}" * (name == "apt-get") or None
    )
    for _ in range(2):
        with pytest.raises(MissingError):
            programs.wrk()
    assert [command[-1] for command in nothing_installed] == ["update", "wrk"]
