"""Needs of the peers: virtual environments made with pip, and programs that apt brings where it may."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOMES = HERE / ".env"

OWN = "millrace"
"""The environment that runs this."""

NCHAN = "nchan"
"""No environment, but an nginx."""


class MissingError(Exception):
    """Something that has to be installed is not there; the text says what to do."""


@dataclass(frozen=True)
class Environment:
    """Contents of a virtual environment.

    Attributes:
        packages: what pip is asked for; ``django`` is the one that this interpreter has.
        newest: the newest Python it can be made with; ``None`` for any.
        before: what old ``setup.py`` files need to be built with; the packages are then built without isolation.
    """

    packages: Sequence[str]
    newest: tuple[int, int] | None = None
    before: Sequence[str] = ()


ENVIRONMENTS = {
    "channels4": Environment(
        ["channels>=4.3,<5", "channels-redis>=4.3,<5", "daphne>=4.2,<5", "uvicorn[standard]", "hiredis", "django"]
    ),
    "channels4-postgres": Environment(
        ["channels>=4.3,<5", "channels-postgres>=1.1,<2", "psycopg[binary]", "uvicorn[standard]", "django"]
    ),
    # What Channels 1 ran on when it was current, as far as Python 3.11 allows. msgpack-python is the library's former
    # name: with the later msgpack beside it, asgi_redis would import that and fail.
    "channels1": Environment(
        [
            *("channels==1.1.8", "daphne==1.4.2", "asgi_redis==1.4.3", "asgiref==1.1.2", "Django==2.2.28"),
            *("autobahn==20.12.3", "twisted<27", "txredisapi==1.4.7", "redis==2.10.6", "hiredis<2"),
            "msgpack-python==0.5.6",
        ],
        newest=(3, 11),
        before=["setuptools<66", "wheel"],
    ),
    "tools": Environment(["matplotlib"]),
}
"""The virtual environments, by name."""

_NAMED = {"django", "django-millrace", "channels", "channels-redis", "daphne", "uvicorn", "uvloop", "redis", "hiredis"}
_NAMED |= {"httptools", "websockets", "msgpack", "msgpack-python", "asgiref", "asgi-redis", "twisted", "autobahn"}
_NAMED |= {"channels-postgres", "psycopg"}
"""Distributions that a report names."""


def python_of(environment: str) -> Path:
    """The interpreter of an environment."""
    return Path(sys.executable) if environment == OWN else HOMES / environment / "bin" / "python"


def set_up(environment: str) -> None:
    """Make an environment, once: later calls find its mark and return.

    Raises:
        MissingError: pip failed, or there is no interpreter, no nginx or no installed Millrace for it.
    """
    if environment == NCHAN:
        nginx()
    elif environment != OWN:
        _make(HOMES / environment, ENVIRONMENTS[environment])
    elif not (Path(sys.executable).parent / "daphne").exists():
        raise MissingError(
            f"Millrace is not installed for {sys.executable}; run it from an environment in which "
            "'pip install -e .' was run, or with 'make bench'"
        )


def _make(home: Path, wanted: Environment) -> None:
    mark = home / "installed"
    own = f"django=={importlib.metadata.version('django')}"
    packages = [*wanted.before, *(own if each == "django" else each for each in wanted.packages)]
    made_of = "\n".join([f"made by Python {platform.python_version()}", *packages])
    if mark.exists() and mark.read_text() == made_of:
        return
    python = interpreter(wanted.newest)
    print(f"Installing {', '.join(wanted.packages)} into {home} ...", file=sys.stderr, flush=True)
    _run([python, "-m", "venv", "--clear", str(home)])
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if wanted.before:
        _run([*pip, *wanted.before])
        pip.append("--no-build-isolation")
    _run([*pip, *packages])
    mark.write_text(made_of)


def interpreter(newest: tuple[int, int] | None) -> str:
    """An interpreter that is not newer than that: this one, else the one of exactly that version.

    Raises:
        MissingError: there is none.
    """
    if newest is None or sys.version_info[:2] <= newest:
        return sys.executable
    name = f"python{newest[0]}.{newest[1]}"
    # It may be a launcher for an interpreter that is not there.
    if shutil.which(name) and subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0:
        return name
    raise MissingError(f"it needs Python {newest[0]}.{newest[1]}, and there is no {name} on the path")


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        last = (finished.stderr or finished.stdout).strip().splitlines()[-1:]
        raise MissingError(f"'{' '.join(command[:4])} ...' failed: {' '.join(last)}")


def versions(environment: str) -> str:
    """An environment's Python and the distributions that matter, as installed in it; or the version of nginx."""
    if environment == NCHAN:
        return f"nginx {nginx().version}"
    # Isolated, so that the working directory does not add distributions of its own.
    code = (
        "import importlib.metadata as m, json, platform\n"
        "print(json.dumps([['Python', platform.python_version()], "
        "*sorted((d.metadata['Name'].lower().replace('_', '-'), d.version) for d in m.distributions())]))"
    )
    command = [str(python_of(environment)), "-I", "-c", code]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return ", ".join(f"{name} {version}" for name, version in found if name in {"Python", *_NAMED})


_SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
"""Servers are not on everybody's path."""

_tried: set[str] = set()
"""Packages that apt was asked for: once is enough."""


def program(name: str, *packages: str) -> str:
    """Path of ``redis-server``, of wrk, or of another program; apt brings its packages if the user is root.

    Raises:
        MissingError: it is not there and cannot be installed.
    """
    packages = packages or (name,)
    if not shutil.which(name, path=_SEARCHED):
        _install(packages)
    found = shutil.which(name, path=_SEARCHED)
    if not found:
        raise MissingError(f"{name} is missing; install it, on Debian with 'sudo apt-get install {' '.join(packages)}'")
    return found


def _install(packages: Sequence[str]) -> None:
    if _tried.issuperset(packages) or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    _tried.update(packages)
    print(f"Installing {', '.join(packages)} ...", file=sys.stderr, flush=True)
    # In run level 1 the packages do not start servers of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "-qq", *command], capture_output=True, env=environment, check=False)


@dataclass(frozen=True)
class Nginx:
    """An nginx that knows nchan: its path, the module to load if that is not compiled in, and its version."""

    program: str
    module: Path | None
    version: str


def nginx() -> Nginx:
    """The nginx that `nchan`'s peer runs.

    Raises:
        MissingError: it or the module is not there and cannot be installed.
    """
    packages = ("nginx", "libnginx-mod-nchan")
    for last in (False, True):
        path = program("nginx", *packages)
        said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stderr
        if found := nginx_from(path, said):
            return found
        if not last:
            _install(packages)
    raise MissingError(
        f"this nginx lacks nchan; install it, on Debian with 'sudo apt-get install {' '.join(packages)}'"
    )


def nginx_from(path: str, said: str) -> Nginx | None:
    """Read what ``nginx -V`` says; ``None`` if there is no nchan, compiled in or where its modules lie."""
    version = re.search(r"nginx/(\S+)", said)
    named = version[1] if version else "of unknown version"
    if re.search(r"--add-module=\S*nchan", said):
        return Nginx(path, None, named)
    folder = re.search(r"--modules-path=(\S+)", said)
    module = Path(folder[1]) / "ngx_nchan_module.so" if folder else None
    return Nginx(path, module, named) if module and module.exists() else None
