"""The exception of this room."""

from __future__ import annotations


class RoutingError(ValueError):
    """A routing that cannot work. Raised at start-up, never while messages are matched.

    Args:
        where: the route, as its author would recognise it.
        reason: what is wrong with it and what to do.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where, self.reason = where, reason
        super().__init__(where, reason)

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"
