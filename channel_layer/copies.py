"""A message to a group, received one member at a time: the first gets it, the others' copies wait here."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Sequence

from .delivery import Delivery, Message
from .forks import forget_in_children

Copy = tuple[str, Message]
"""Full channel name and message."""


class Copies:
    """For the form of receiving that gives one message to one channel. Thread-safe."""

    def __init__(self) -> None:
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Begin anew in a process that was forked: what waits here is the parent's to deliver."""
        self._waiting: dict[str, deque[Copy]] = {}
        self._lock = threading.Lock()

    def take(self, channels: Sequence[str]) -> Copy | None:
        """Take what waits on one of the channels, oldest first."""
        if self._waiting:
            with self._lock:
                for name in channels:
                    waiting = self._waiting.get(name)
                    if waiting:
                        first = waiting.popleft()
                        if not waiting:
                            del self._waiting[name]
                        return first
        return None

    def first_of(self, deliveries: Sequence[Delivery]) -> Copy | None:
        """Give out the only delivery of a batch of one; if it has several members, the others' copies are kept."""
        if not deliveries:
            return None
        [delivery] = deliveries
        if delivery.members is None:
            return delivery.channel, delivery.message
        first, *others = [(delivery.channel + local, copy.deepcopy(delivery.message)) for local in delivery.members]
        if others:
            with self._lock:
                self._waiting.setdefault(delivery.channel, deque()).extend(others)
        return first

    def clear(self) -> None:
        """Drop what waits."""
        with self._lock:
            self._waiting.clear()
