"""File descriptors: how many the system allows, and who gets them."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass

OWN = 64
"""Descriptors reserved beyond those that are open at the start: for the broker's connections, logs, the file that holds
bodies, and a project's own files."""

MOST_SURPLUS = 1_000
"""Connections beyond those that are served, held while they read why they are not."""

_SURPLUS_SHARE = 16
"""One in so many descriptors is for connections that are refused."""

_DIRECTORY = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"


@dataclass(frozen=True)
class Shares:
    """Division of the descriptors of a process.

    Attributes:
        served: connections that are served.
        surplus: connections beyond them that are told to come back later. After these, nothing is accepted.
    """

    served: int
    surplus: int


def shares(max_connections: int, limit: int | None = None, in_use: int | None = None, besides: int = 0) -> Shares:
    """Divide what the system allows, so that clients can never take what the broker needs.

    Args:
        max_connections: served at most.
        limit: descriptors that the process may have open; by default what the system says.
        in_use: descriptors that are open already.
        besides: how many of these are of connections.
    """
    limit = soft_limit() if limit is None else limit
    in_use = (len(os.listdir(_DIRECTORY)) if in_use is None else in_use) - besides
    surplus = max(1, min(MOST_SURPLUS, limit // _SURPLUS_SHARE))
    return Shares(max(1, min(max_connections, limit - in_use - OWN - surplus)), surplus)


def needed(connections: int) -> int:
    """The limit under which so many connections are served."""
    return -(-(connections + 2 * OWN) * _SURPLUS_SHARE // (_SURPLUS_SHARE - 1))


def soft_limit() -> int:
    """Descriptors that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 - 1 if soft == resource.RLIM_INFINITY else soft


def raise_limit(wanted: int) -> None:
    """Have the system allow so many, or as many as it lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft_limit() < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
