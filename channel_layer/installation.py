"""Check that the packages of this distribution are the ones that get imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from .exceptions import LayerConfigurationError

ROOMS = ("channel_layer", "routing", "workers", "interface_server", "channels")
"""The import packages of this distribution; their names are general enough for a project to own one."""

FOREIGN = ("channels", "daphne", "asgi_redis", "asgi_ipc")
"""Distributions that install an import package or a command of the same name as ours."""

STAND_IN = "+millrace"
"""End of the version of a distribution of ours that has one of these names and no files; see docs/stand-ins.md."""


def check_installation(rooms: Iterable[str] = ROOMS, foreign: Iterable[str] = FOREIGN) -> None:
    """Find out whether something else answers to the names of the rooms. Imports nothing; takes a millisecond.

    For commands to call when they start, after they have put the project on ``sys.path``.

    Raises:
        LayerConfigurationError: a file hides a room, or foreign distributions lie beside this one; the
            text is one sentence that names them and says what to do.
    """
    house = Path(__file__).resolve().parent.parent
    for room in rooms:
        found = _where(room)
        if found is None:
            raise LayerConfigurationError(
                f"the package {room!r} of django-millrace is missing from {house}; install "
                "it again (pip install --force-reinstall django-millrace)"
            )
        if found != house / room:
            raise LayerConfigurationError(
                f"{found} hides the package {room!r} of django-millrace, which lies in {house / room}; "
                f"rename it, for example to {'my_' + found.name!r}, and change the imports of it"
            )
    beside = [name for name in foreign if _is_installed(name)]
    if beside:
        # All in one sentence: to remove them takes files of ours along, so ours comes last, and once.
        several = len(beside) > 1
        them = "them" if several else "it"
        raise LayerConfigurationError(
            f"the distribution{'s' * several} {' and '.join(map(repr, beside))} {'are' if several else 'is'} installed "
            f"beside django-millrace, which provides the same names; remove {them}, and install "
            f"ours again (pip uninstall {' '.join(beside)}; pip install --force-reinstall django-millrace); if another "
            f"package requires {them}, install the stand-in{'s' * several} of django-millrace too"
        )


def _where(room: str) -> Path | None:
    """Directory of a package, or file of a module, as an import would find it."""
    module = sys.modules.get(room)
    spec = getattr(module, "__spec__", None) if module is not None else None
    if spec is None:
        spec = importlib.util.find_spec(room)
    if spec is None or (spec.submodule_search_locations and spec.origin is None):
        return None  # a folder without __init__.py is what is left of a package that another one was installed over
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(os.fspath(spec.origin)).resolve() if spec.origin else None


def _is_installed(name: str) -> bool:
    try:
        return not importlib.metadata.version(name).endswith(STAND_IN)
    except importlib.metadata.PackageNotFoundError:
        return False
