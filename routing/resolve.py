"""The object that a dotted path names."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .exceptions import RoutingError


def resolve(path: str, where: str) -> object:
    """Import the object that a dotted path names: a module's attribute, or an attribute of a class in it.

    Args:
        path: for example ``"project.routing.channel_routing"``.
        where: the place that mentions the path, for the error.

    Raises:
        RoutingError: the path names nothing. Whatever else importing the module raises passes through.
    """
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise RoutingError(where, f"{path!r} is not a dotted path; write it as 'package.module.name'")
    module, used = _longest_module(parts, path, where)
    found: object = module
    for position, name in enumerate(parts[used:], used):
        try:
            found = getattr(found, name)
        except AttributeError:
            owner = ".".join(parts[:position])
            raise RoutingError(where, f"{path!r} does not exist: {owner!r} has no attribute {name!r}") from None
    return found


def _longest_module(parts: list[str], path: str, where: str) -> tuple[ModuleType, int]:
    """Import the longest part of a path that is a module; also the number of names in it."""
    for used in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:used])
        try:
            return import_module(name), used
        except ModuleNotFoundError as error:
            # Only the absence of the named module itself lets a shorter one be tried: an import that
            # fails inside it is that module's own fault and must be seen.
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise RoutingError(where, f"importing {name!r} for {path!r} failed: {error}") from error
    raise RoutingError(where, f"{path!r} cannot be imported: there is no module {parts[0]!r}")
