"""State that a connection keeps for its consumers: bytes by key, so that consumers can change it side by side.

A consumer sends back only the keys that it changed or deleted (``None``). Of two that change the same key, the one
whose message arrives last wins; of different keys nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

MARK = "s."
"""Prefix of the local part of a reply channel whose connection keeps state and can be asked for it."""


def keeps_state(channel: str) -> bool:
    """Tell from a reply channel's name if the connection behind it keeps state."""
    return channel.partition("!")[2].startswith(MARK)


def changes(before: object, after: object) -> dict[str, bytes | None]:
    """The keys whose values differ, with their new values; ``None`` for one that is gone.

    Raises:
        TypeError: ``after`` is not a state; what is wrong with ``before`` counts as empty.
    """
    if after is before:
        return {}
    # The exact type first: asking an abstract class costs as much as the rest.
    kept = before if type(before) is dict or isinstance(before, Mapping) else {}
    now = after or {}
    if type(now) is not dict and not isinstance(now, Mapping):
        raise TypeError(f"it is {type(now).__name__}, it must be a dict of bytes")
    found: dict[str, bytes | None] = {key: None for key in kept if key not in now}
    for key, value in now.items():
        if value is kept.get(key, found):  # as most are, for those who changed one
            continue
        if type(key) is not str or type(value) is not bytes:
            raise TypeError(f"the value of {key!r} is {type(value).__name__}; keys are text and values are bytes")
        if kept.get(key) != value:
            found[key] = value
    return found


def merged(kept: Mapping[str, bytes] | None, changed: object, limit: int) -> dict[str, bytes]:
    """A state with changes carried out, all of them or none.

    Raises:
        ValueError: they are not changes, or the state would be larger than ``limit``.
    """
    if not isinstance(changed, dict):
        raise ValueError(f"it is {type(changed).__name__}, it must be a dict of bytes")
    state = dict(kept or ())
    for key, value in changed.items():
        if value is None:
            state.pop(key, None)
        elif type(key) is str and type(value) is bytes:
            state[key] = value
        else:
            raise ValueError(f"the value of {key!r} is {type(value).__name__}; keys are text and values are bytes")
    if (size := size_of(state)) > limit:
        raise ValueError(f"it is {size} bytes, allowed are {limit} bytes")
    return state


def size_of(state: Mapping[str, bytes]) -> int:
    """Size of a state: its keys and its values."""
    return sum(map(len, state)) + sum(map(len, state.values()))
