"""Capacity: most messages that a channel may hold."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .exceptions import LayerConfigurationError
from .names import split

BODY_CAPACITY = 16
"""Chunks of one request body that wait at most, so that an upload never fills the broker."""

_BUILT_IN = {re.compile(r"http\.request\.body\?"): BODY_CAPACITY}


class CapacityRules:
    """Capacity per channel: the first matching rule wins, else the default.

    Args:
        default: messages a channel may hold.
        rules: name, glob or compiled regular expression → capacity. A process-specific channel is
            looked up by its name up to and including ``!``, as all its local parts share one queue.
    """

    def __init__(self, default: int, rules: Mapping[str | re.Pattern[str], int] | None = None) -> None:
        self.default = _positive("capacity", default)
        every: dict[Any, int] = {**(rules or {}), **_BUILT_IN}
        self._rules = [
            (self._compile(pattern), _positive(f"channel_capacity[{pattern!r}]", capacity))
            for pattern, capacity in every.items()
        ]
        self.of_reader = lru_cache(maxsize=4096)(self._of_reader)

    def of(self, channel: str) -> int:
        """Capacity of a channel by its full name."""
        return self.of_reader(split(channel)[0])

    def _of_reader(self, name: str) -> int:
        for pattern, capacity in self._rules:
            if pattern.match(name):
                return capacity
        return self.default

    @staticmethod
    def _compile(pattern: Any) -> re.Pattern[str]:
        if isinstance(pattern, re.Pattern):
            return pattern
        if isinstance(pattern, str):
            return re.compile(fnmatch.translate(pattern))
        raise LayerConfigurationError(
            f"channel_capacity key {pattern!r} must be a channel name, a glob or a compiled regular expression"
        )


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise LayerConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value
