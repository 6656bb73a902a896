"""Questions to an interface server whether it is there, and still has its connections with this process.

They ride with heartbeats, so that quiet instances cost no message of their own however many they are.
"""

from __future__ import annotations

from collections.abc import Callable

ASK_SECONDS = 30.0
"""The silence of an instance after which its server is asked about its lease, and the time between two such rounds."""

UNANSWERED_SECONDS = 70.0
"""The time without an answer after which a server is gone."""

LEASES_AT_A_TIME = 500
"""Leases that one heartbeat asks about: they are looked up by an event loop that has frames to pass on."""

Leases = dict[str, int]
"""The local part of a connection's name → the number of times that it has changed hands."""


class LeaseQuestions:
    """Rounds of questions to one server, a part with each heartbeat. Of each call only one may run at a time.

    Args:
        now: the time, as in all calls.
    """

    def __init__(self, now: float) -> None:
        self._round_at = now + ASK_SECONDS
        self._rest: list[tuple[str, int]] = []
        self._unanswered_since: float | None = None

    def next(self, now: float, quiet: Callable[[], Leases]) -> Leases:
        """The leases to ask about with the next heartbeat; empty if there is nothing to ask.

        Args:
            quiet: leases of the instances that have heard nothing for `ASK_SECONDS`; called once for each round.
        """
        if not self._rest and now >= self._round_at:
            self._round_at = now + ASK_SECONDS
            self._rest = list(quiet().items())
        part, self._rest = self._rest[:LEASES_AT_A_TIME], self._rest[LEASES_AT_A_TIME:]
        return dict(part)

    def asked(self, now: float) -> None:
        """A question was stored."""
        if self._unanswered_since is None:
            self._unanswered_since = now

    def answered(self) -> None:
        """The server has answered, or could not have been heard."""
        self._unanswered_since = None

    def silence(self, now: float) -> float:
        """The time for which it has not answered."""
        return 0.0 if self._unanswered_since is None else now - self._unanswered_since
