"""The choice of the routed channels that a worker listens on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from fnmatch import fnmatchcase


def filter_channels(channels: Iterable[str], only: Collection[str] = (), exclude: Collection[str] = ()) -> list[str]:
    """Filter channel names by globs: those that match any of ``only`` (if given) and none of ``exclude``.

    The order is kept, sets are sorted.

    Raises:
        ValueError: nothing is left; a worker without channels would wait for ever.
    """
    names = sorted(channels) if isinstance(channels, Set) else list(channels)
    selected = [
        name
        for name in names
        if (not only or any(fnmatchcase(name, glob) for glob in only))
        and not any(fnmatchcase(name, glob) for glob in exclude)
    ]
    if not selected:
        raise ValueError(
            f"no channels are left to listen on: only={sorted(only)} exclude={sorted(exclude)} "
            f"of the routed channels {names}. Check the globs against the routing."
        )
    return selected
