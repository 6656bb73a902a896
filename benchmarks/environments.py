"""The peers' virtual environments: what each holds, and how they are made."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .programs import MissingError, nginx

HERE = Path(__file__).parent
HOMES = HERE / ".env"


@dataclass(frozen=True)
class Environment:
    """Contents of a virtual environment.

    Attributes:
        packages: what pip is asked for.
        own_django: the Django that this interpreter has is added.
        newest: the newest Python it can be made with; ``None`` for any.
        before: what old ``setup.py`` files need to be built with; the packages are then built without isolation.
    """

    packages: Sequence[str]
    own_django: bool = True
    newest: tuple[int, int] | None = None
    before: Sequence[str] = ()

    def requirements(self) -> list[str]:
        """Everything that is installed."""
        return [*self.before, *self.packages, *([_django()] if self.own_django else [])]


OWN = "millrace"
"""The environment that runs this."""

NCHAN = "nchan"
"""No environment, but an nginx."""

ENVIRONMENTS = {
    "channels4": Environment(
        ["channels>=4.3,<5", "channels-redis>=4.3,<5", "daphne>=4.2,<5", "uvicorn[standard]", "hiredis"]
    ),
    # What Channels 1 ran on when it was current, as far as Python 3.11 allows. msgpack-python is the library's former
    # name: with the later msgpack beside it, asgi_redis would import that and fail.
    "channels1": Environment(
        [
            *("channels==1.1.8", "daphne==1.4.2", "asgi_redis==1.4.3", "asgiref==1.1.2", "Django==2.2.28"),
            *("autobahn==20.12.3", "twisted<27", "txredisapi==1.4.7", "redis==2.10.6", "hiredis<2"),
            "msgpack-python==0.5.6",
        ],
        own_django=False,
        newest=(3, 11),
        before=["setuptools<66", "wheel"],
    ),
    "tools": Environment(["py-spy", "matplotlib"], own_django=False),
}
"""The virtual environments, by name."""


def python_of(environment: str) -> Path:
    """The interpreter of an environment."""
    return Path(sys.executable) if environment == OWN else HOMES / environment / "bin" / "python"


def set_up(environment: str) -> None:
    """Make an environment, once: later calls find its mark and return.

    Raises:
        MissingError: pip failed, or there is no interpreter, no nginx or no installed Millrace for it.
    """
    if environment == OWN:
        _check_own()
    elif environment == NCHAN:
        nginx()
    else:
        _make(HOMES / environment, ENVIRONMENTS[environment])


def _make(home: Path, wanted: Environment) -> None:
    mark = home / "installed"
    made_of = "\n".join([f"made by Python {platform.python_version()}", *wanted.requirements()])
    if mark.exists() and mark.read_text() == made_of:
        return
    python = interpreter(wanted.newest)
    print(f"Installing {', '.join(wanted.packages)} into {home} ...", file=sys.stderr, flush=True)
    _run([python, "-m", "venv", "--clear", str(home)])
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if wanted.before:
        _run([*pip, *wanted.before])
        pip.append("--no-build-isolation")
    _run([*pip, *wanted.requirements()])
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


def versions(environment: str) -> dict[str, str]:
    """An environment's Python and the distributions that matter, as installed in it."""
    if environment == NCHAN:
        return {"nginx": nginx().version}
    names = ["django", "millrace", "channels", "channels_redis", "daphne", "uvicorn", "uvloop", "redis", "hiredis"]
    names += ["httptools", "websockets", "msgpack", "msgpack-python", "asgiref", "asgi_redis", "twisted", "autobahn"]
    code = (
        "import importlib.metadata as m, platform\n"
        "print('Python', platform.python_version())\n"
        f"for name in {names!r}:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    # Isolated, so that the working directory does not add distributions of its own.
    command = [str(python_of(environment)), "-I", "-c", code]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _check_own() -> None:
    if not (Path(sys.executable).parent / "daphne").exists():
        raise MissingError(
            f"Millrace is not installed for {sys.executable}; run it from an environment in which "
            "'pip install -e .' was run, or with 'make bench'"
        )


def _django() -> str:
    import django

    return f"django=={django.get_version()}"
