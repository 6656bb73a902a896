"""Programs that are not Python packages: Redis, wrk, and nginx with its nchan module. apt brings them where it may."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
"""Servers are not on everybody's path."""

_MODULE = "ngx_nchan_module.so"


class MissingError(Exception):
    """Something that has to be installed is not there; the text says what to do."""


@dataclass(frozen=True)
class Nginx:
    """An nginx that knows nchan.

    Attributes:
        program: its path.
        module: the module to load; ``None`` if it is compiled in.
        version: what it calls its version.
    """

    program: str
    module: Path | None
    version: str


def redis_server() -> str:
    """Path of ``redis-server``.

    Raises:
        MissingError: it is not there and cannot be installed.
    """
    return _find("redis-server")


def wrk() -> str:
    """Path of wrk, which makes the requests.

    Raises:
        MissingError: it is not there and cannot be installed.
    """
    return _find("wrk")


def nginx() -> Nginx:
    """The nginx that `nchan`'s peer runs.

    Raises:
        MissingError: it or the module is not there and cannot be installed.
    """
    found = _known_nginx()
    if found is None:
        _install(["nginx", "libnginx-mod-nchan"])
        found = _known_nginx()
    if found is None:
        raise MissingError(
            "nginx with nchan is missing; install it, on Debian with 'sudo apt-get install nginx libnginx-mod-nchan'"
        )
    return found


def _known_nginx() -> Nginx | None:
    program = shutil.which("nginx", path=_SEARCHED)
    if not program:
        return None
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    return nginx_from(program, said)


def nginx_from(program: str, said: str) -> Nginx | None:
    """Reads what ``nginx -V`` says; ``None`` if there is no nchan, compiled in or where its modules lie."""
    version = re.search(r"nginx/(\S+)", said)
    named = version[1] if version else "of unknown version"
    if re.search(r"--add-module=\S*nchan", said):
        return Nginx(program, None, named)
    folder = re.search(r"--modules-path=(\S+)", said)
    module = Path(folder[1]) / _MODULE if folder else None
    return Nginx(program, module, named) if module and module.exists() else None


def _find(program: str) -> str:
    if not shutil.which(program, path=_SEARCHED):
        _install([program])
    found = shutil.which(program, path=_SEARCHED)
    if not found:
        raise MissingError(f"{program} is missing; install it, on Debian with 'sudo apt-get install {program}'")
    return found


_tried: set[str] = set()
"""Packages that apt was asked for: once is enough."""


def _install(packages: list[str]) -> None:
    if _tried.issuperset(packages) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    _tried.update(packages)
    print(f"Installing {', '.join(packages)} ...", file=sys.stderr, flush=True)
    # In run level 1 the packages do not start servers of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *command], capture_output=True, env=environment, check=False)
