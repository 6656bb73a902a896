"""Estimate of a server's time, for callers that may be wrong by a little."""

from __future__ import annotations

import time


class ServerClock:
    """Goes by what the server said last and by this machine's monotonic clock; until then by the machine's own time.

    Only for what the server checks: clocks of machines may be minutes apart.
    """

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        self._ahead = (time.time() - time.monotonic()) * 1000

    def learn(self, ms: float) -> None:
        """The server has just said that it is so many milliseconds after 1970."""
        self._ahead = ms - time.monotonic() * 1000

    def ms(self) -> float:
        """Milliseconds after 1970, at the server, now."""
        return time.monotonic() * 1000 + self._ahead
