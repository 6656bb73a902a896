"""Limits after which a worker process is replaced by a fresh one: messages, memory, age."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from channel_layer.heap import heap

MIB = 1_048_576

EARLIEST = 0.8
"""The limits of messages and age are drawn from this part of them up to the whole, so that processes that were started
together are not replaced together."""

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory of this process that is in RAM: now on Linux, elsewhere (macOS) the most it has had so far."""
    try:
        return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class Wear:
    """Tell when a process has done enough. The age counts from when this is made.

    Args:
        max_messages: messages that it takes at most, about.
        max_memory: bytes in RAM.
        max_age: seconds.
        memory: measures the bytes in RAM.

    Raises:
        ValueError: the process has more memory than ``max_memory`` already.
    """

    def __init__(
        self,
        max_messages: int | None = None,
        max_memory: int | None = None,
        max_age: float | None = None,
        memory: Callable[[], int] = resident_bytes,
    ) -> None:
        self._max_messages = None if max_messages is None else max(1, round(max_messages * _part()))
        self._max_memory = max_memory
        self._memory = memory
        self._ends_at = None if max_age is None else time.monotonic() + max_age * _part()
        self._began = time.monotonic()
        if max_memory is not None and (now := memory()) >= max_memory:
            raise ValueError(
                f"{max_memory // MIB} MiB is less than the {now // MIB} MiB that a worker of this project has at its "
                "start, so none would ever work; allow more"
            )

    def verdict(self, messages: int) -> str | None:
        """The limit that is reached, in words for the log; ``None`` if none is.

        Args:
            messages: the number that the process has taken so far.
        """
        if self._max_messages is not None and messages >= self._max_messages:
            return f"it has taken {messages} messages (--max-messages)"
        if self._max_memory is not None and self._memory() >= self._max_memory:
            heap.give_back()  # what is free and only kept does not count
            if (now := self._memory()) >= self._max_memory:
                return f"it has {now // MIB} MiB in memory (--max-memory)"
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            return f"it is {time.monotonic() - self._began:.0f} s old (--max-age)"
        return None


def _part() -> float:
    return random.uniform(EARLIEST, 1.0)
