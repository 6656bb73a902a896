"""Servers that are down: remembered, left out, and looked after in the background."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import redis

from ..backoff import Backoff
from ..exceptions import LayerUnavailable
from .errors import DRIVER_ERRORS, is_setup_error

logger = logging.getLogger(__name__)

FIRST_PROBE, LAST_PROBE = 0.05, 0.5
"""Seconds between two probes of a server that is down, at first and at last."""

UNASKED_SECONDS = 60.0
"""Time without a call after which a server is no longer probed; the next call finds out by itself."""

SURE_SECONDS = 3.0
"""Time without a refusal after which a server counts as storing again."""


class Outage:
    """State of one server: up, down, or refusing to store.

    The call that finds a server down waits in vain, for as long as the timeouts say. All calls after it fail at once,
    until a probe in a thread of its own succeeds: so neither a receive nor a send to another server waits for it.
    Thread-safe.

    Args:
        where: the server's name.
        probe: connects and asks for an answer; raises a driver's error if none comes.
        matters: whether there are other servers, which a wait would hold up. Otherwise nothing is left out.

    Attributes:
        where: the server's name.
        matters: see above.
        is_down: whether calls fail at once.
        is_refusing: whether the server answers, and has of late refused what was to be stored.
    """

    __slots__ = ("_asked", "_lock", "_pid", "_probe", "_refused_at", "is_down", "is_refusing", "matters", "where")

    def __init__(self, where: str, probe: Callable[[], None], matters: bool) -> None:
        self.where = where
        self._probe = probe
        self.matters = matters
        self._lock = threading.Lock()
        self._pid = 0
        self._asked = self._refused_at = 0.0
        self.is_down = False
        self.is_refusing = False

    def check(self) -> None:
        """Fail at once if the server is down.

        Raises:
            LayerUnavailable: it is; nothing was sent to it.
        """
        if not self.is_down:
            return
        if self._pid != os.getpid():  # the thread that probes stayed behind in the parent
            self._lock = threading.Lock()
            self.is_down = False
            return
        self._asked = time.monotonic()
        raise LayerUnavailable(self.where, "it is down and left out until it answers", uncertain=False)

    def note(self, error: BaseException, uncertain: bool) -> None:
        """A call has failed with a driver's error or what was made of it; ``uncertain`` as in `LayerUnavailable`.

        A connection that breaks says nothing about the server, one that cannot be made or is silent does.
        """
        if not self.matters or is_setup_error(error):
            return
        if not uncertain or isinstance(error, (redis.TimeoutError, TimeoutError)):
            self.begin(error.reason if isinstance(error, LayerUnavailable) else str(error) or type(error).__name__)

    def begin(self, reason: str) -> None:
        """The server is down; a thread probes it from now on."""
        with self._lock:
            if self.is_down or not self.matters:
                return
            self.is_down = True
            self._pid = os.getpid()
            self._asked = time.monotonic()
        logger.warning("Redis at %s is left out until it answers: %s", self.where, reason)
        threading.Thread(target=self._await_end, name="redis-probe", daemon=True).start()

    def refused(self, reason: str) -> None:
        """The server answered, and did not store what it was sent."""
        self._refused_at = time.monotonic()
        if not self.is_refusing:
            self.is_refusing = True
            logger.warning("Redis at %s stores nothing more: %s", self.where, reason)

    def accepted(self) -> None:
        """The server has stored something again. With little memory it does so now and then, which says nothing yet."""
        if time.monotonic() - self._refused_at >= SURE_SECONDS:
            self.is_refusing = False
            logger.warning("Redis at %s stores messages again", self.where)

    def close(self) -> None:
        """Probe no more, as nobody needs to know; the next call finds out by itself."""
        self.is_down = False

    def _await_end(self) -> None:
        pauses = Backoff(FIRST_PROBE, LAST_PROBE)
        while self.is_down and time.monotonic() - self._asked < UNASKED_SECONDS:
            time.sleep(pauses.next())
            try:
                self._probe()
            except (LayerUnavailable, *DRIVER_ERRORS) as error:
                if not is_setup_error(error):
                    continue
            if self.is_down:
                logger.warning("Redis at %s answers again", self.where)
            break
        self.is_down = False
