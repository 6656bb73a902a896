"""The open connections of a server, and when there are too many of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from .descriptors import Shares

logger = logging.getLogger("interface_server.server")

COMPLAINT_SECONDS = 60.0
"""The log says at most once in this time that connections are turned away."""


class Connections(set[Any]):
    """Every open connection. Counts from the moment of the accept on, during a TLS handshake too.

    Args:
        shares: how many may be open.
        pause: called, once, when no more may be accepted.
        resume: called when there is room again.

    Attributes:
        paused: whether none is accepted now.
    """

    def __init__(self, shares: Shares, pause: Callable[[], object], resume: Callable[[], object]) -> None:
        super().__init__()
        self.paused = False
        self._served = shares.served
        self._patient = shares.served + shares.surplus // 2
        self._most = shares.served + shares.surplus
        # Not with the first that leaves: to stop and begin to listen costs more than an accept.
        self._enough = self._most - max(1, shares.surplus // 4)
        self._pause, self._resume = pause, resume
        self._complained = -COMPLAINT_SECONDS

    def add(self, connection: Any) -> bool:  # type: ignore[override]
        """Count a connection; whether it can be served."""
        super().add(connection)
        count = len(self)
        if count <= self._served:
            return True
        if count >= self._most and not self.paused:
            self.paused = True
            self._pause()
        self._complain()
        return False

    @property
    def is_crowded(self) -> bool:
        """True if connections that are not served are refused at once, before a request is read."""
        return len(self) > self._patient

    def discard(self, connection: Any) -> None:
        """Forget a connection, if it is known."""
        super().discard(connection)
        if self.paused and len(self) <= self._enough:
            self.paused = False
            self._resume()

    def _complain(self) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            logger.warning("%d connections are open, as many as are served; further ones get 503", self._served)
