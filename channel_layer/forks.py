"""Resources that a process must not share with the one it was forked from."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Has something that belongs to one process, such as a connection: two that use it get each other's answers."""

    def forget(self) -> None:
        """Let go of it and begin anew, without closing it for the other process."""


_all: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_in_children(owner: Forgetful) -> None:
    """Have ``owner.forget`` called in every process that is forked from this one."""
    _all.add(owner)


def _forget() -> None:
    for owner in list(_all):
        owner.forget()


os.register_at_fork(after_in_child=_forget)
