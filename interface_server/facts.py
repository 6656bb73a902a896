"""Facts about an interface server: what it counts, and what its reports say.

A report has, besides what all have (`channel_layer.facts`):

===================  =======================================================================================
``sockets``          open WebSockets, by `path_pattern`
``handshakes``       handshakes that have ended, by result: ``accepted``, a status, ``left``
``handshaking``      handshakes that wait for a consumer
``closes``           WebSockets that have ended, by cause: ``client``, ``consumer``, ``operator``, or why this server
                     closed them
``requests``         requests that have been answered, by status
``requesting``       requests under way
``refused``          connections refused before there was a request or a handshake, by status
``request_seconds``  histogram of their duration
``turn_seconds``     histogram: from when the layer had stored a frame, or handshake, to the end of its turn
``frames``           messages that clients sent
``deliveries``       messages through groups, once for each member
``outbox_bytes``     bytes that wait for clients of WebSockets; ``read_ahead_bytes`` for consumers; ``uplink_bytes``
                     for the layer
``stalled_seconds``  time for which the event loop was late, in all
``leases``           WebSockets whose application lives in a worker, by the name of that worker
``last_wills``       WebSockets whose end others would tell
``layer``            ``up``; ``writes``: histogram of round trips; ``failures``; ``lost``: see `Facts.lost`
===================  =======================================================================================
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from functools import lru_cache
from typing import Final

from channel_layer.facts import BOUNDS, Counts, Histogram

_VARIABLE: Final = re.compile(r"[0-9].*[0-9]|^[0-9]$|.{25}").search
"""True of a part of a path that is more likely an identifier than the name of a page."""

BY_CLIENT: Final = "client"
BY_CONSUMER: Final = "consumer"
BY_OPERATOR: Final = "operator"
"""Causes of the end of a WebSocket, beside the reasons that this server gives."""

STALL_SECONDS: Final = 0.05
"""Delay of the clock from which something held the event loop up."""

PLACEHOLDER: Final = "*"
MOST_PARTS: Final = 6


@lru_cache(maxsize=4096)
def path_pattern(path: str) -> str:
    """A path with a placeholder for each part that seems to identify something: numbers, keys, long words.

    An interface server knows no routes, and clients choose paths, so there have to be few patterns for many paths.
    """
    parts = path.split("/")
    shown = [PLACEHOLDER if _VARIABLE(part) or not part.isprintable() else part for part in parts[: MOST_PARTS + 1]]
    return "/".join(shown) + ("/..." if len(parts) > MOST_PARTS + 1 else "")


class Facts:
    """Counters of one interface server. Belongs to its event loop; each part counts what it does itself.

    Attributes:
        heard: the event loop's time when the replies that are being dealt with came.
        lost: messages that were dropped or may be lost, by reason.
        outbox_bytes: bytes that waited for clients at the last look.
        counting_bytes: the same, as the look goes on.
        stalled_seconds: time for which the clock of the process was late.
        ticked: when that clock last went, by `time.monotonic`.
        The others are those of the report.
    """

    def __init__(self) -> None:
        self.heard = 0.0
        self.sockets = Counts()
        self.handshakes = Counts()
        self.handshaking = 0
        self.closes = Counts()
        self.requests = Counts()
        self.requesting = 0
        self.refused = Counts()
        self.request_seconds = Histogram()
        self.turn_seconds = Histogram()
        self.frames = 0
        self.deliveries = 0
        self.writes = Histogram()
        self.failures = 0
        self.lost = Counts()
        self.outbox_bytes = self.counting_bytes = 0
        self.stalled_seconds = 0.0
        self.ticked = time.monotonic()

    def opened(self, path: str) -> None:
        """A WebSocket is open."""
        self.handshaking -= 1
        self.handshakes.add("accepted")
        self.sockets.add(path_pattern(path))

    def not_opened(self, result: str) -> None:
        """A handshake has ended otherwise."""
        self.handshaking -= 1
        self.handshakes.add(result)

    def closed(self, path: str, cause: str) -> None:
        """An open WebSocket has ended."""
        self.sockets.add(path_pattern(path), -1)
        self.closes.add(cause)

    def answered(self, status: int, seconds: float) -> None:
        """A request has ended."""
        self.requesting -= 1
        self.requests.add(str(status))
        self.request_seconds.observe(seconds)

    def turn_over(self, stored_at: float) -> None:
        """A turn has ended with one of the replies that are being dealt with; its message was stored then."""
        seconds, histogram = self.heard - stored_at, self.turn_seconds
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1  # no call of `observe`: this is done for each frame
        histogram.sum += seconds

    def tick(self, late: float) -> None:
        """The clock of the process goes, so many seconds after its time."""
        self.ticked = time.monotonic()
        if late > STALL_SECONDS:
            self.stalled_seconds += late

    def look_at_outboxes(self) -> None:
        """A look at all sockets is over, and the next begins."""
        self.outbox_bytes, self.counting_bytes = self.counting_bytes, 0
