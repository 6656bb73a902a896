"""What must be installed: the peers' virtual environments, Redis and wrk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".env"

PACKAGES = {
    "channels4": ["channels>=4.3,<5", "channels-redis>=4.3,<5", "daphne>=4.2,<5", "uvicorn[standard]", "hiredis"],
    "tools": ["py-spy"],
}
"""What each environment holds. Those of the peers get the Django this interpreter has."""


class MissingError(Exception):
    """Something that has to be installed is not there; the text says what to do."""


def python_of(environment: str) -> Path:
    """The interpreter of an environment; ``millrace`` is the one that runs this."""
    return Path(sys.executable) if environment == "millrace" else ENVIRONMENTS / environment / "bin" / "python"


def set_up(environment: str) -> None:
    """Make an environment, once: later calls find its mark and return.

    Raises:
        MissingError: pip failed, or Millrace is not installed beside this interpreter.
    """
    if environment == "millrace":
        _check_own()
        return
    packages = PACKAGES[environment] + ([_django()] if environment != "tools" else [])
    home = ENVIRONMENTS / environment
    mark = home / "installed"
    if mark.exists() and mark.read_text() == "\n".join(packages):
        return
    print(f"Installing {', '.join(packages)} into {home.relative_to(HERE.parent)} ...", file=sys.stderr, flush=True)
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    finished = subprocess.run(pip, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise MissingError(f"pip could not fill {home}: {finished.stderr.strip().splitlines()[-1:]}")
    mark.write_text("\n".join(packages))


def versions(environment: str) -> dict[str, str]:
    """The distributions that matter, as installed in an environment."""
    names = ["django", "millrace", "channels", "channels_redis", "daphne", "uvicorn", "uvloop", "redis", "hiredis"]
    names += ["httptools", "websockets", "msgpack", "asgiref"]
    code = (
        "import importlib.metadata as m, sys\n"
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


def redis_server() -> str:
    """Path of ``redis-server``, installed by apt if it is missing and this user may.

    Raises:
        MissingError: it is not there and cannot be installed.
    """
    if not shutil.which("redis-server") and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing redis-server ...", file=sys.stderr, flush=True)
        # In run level 1 the package does not start a server of its own.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        command = ["apt-get", "install", "-y", "-qq", "redis-server"]
        subprocess.run(command, capture_output=True, env=environment, check=False)
    found = shutil.which("redis-server")
    if not found:
        raise MissingError("redis-server is missing; install it, on Debian with 'sudo apt-get install redis-server'")
    return found


def wrk() -> str | None:
    """Path of wrk, or ``None``; it is not installed by itself, there is another client."""
    return shutil.which("wrk")
