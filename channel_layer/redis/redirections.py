"""Calls that a node of a cluster refuses, because it does not serve their slot, or is giving it away. No I/O.

Such a call has done nothing, so it is made again: where the node says that the slot is served now, or a moment later if
it is on its way. ``ASK`` is taken for the latter. Who follows it reaches the keys that have arrived, and most scripts
here have keys on both sides then.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import AskError, ExecAbortError, MovedError, TryAgainError

from .moving_host import Address
from .scripts import Call, Reply

LONGEST = 3.0
"""Seconds for which a slot may be on its way."""

PAUSE = 0.02
"""Seconds between two tries."""

_REDIRECTED = (AskError, TryAgainError)
"""`MovedError` is an `AskError`."""


def redirected(calls: Sequence[Call], replies: Sequence[Reply]) -> list[int]:
    """The calls to make again, by their place; of a transaction that was given up because of one, all."""
    again: list[int] = []
    begun: int | None = None
    for place, (call, reply) in enumerate(zip(calls, replies, strict=True)):
        name = call.args[0] if call.script is None and call.args else None
        if name == "MULTI":
            begun = place
        elif begun is None:
            if isinstance(reply, _REDIRECTED):
                again.append(place)
        elif name == "EXEC":
            was_redirected = any(isinstance(each, _REDIRECTED) for each in replies[begun : place + 1])
            if was_redirected and isinstance(reply, (ExecAbortError, *_REDIRECTED)):
                again += range(begun, place + 1)
            begun = None
    return again


def new_place(replies: Sequence[Reply]) -> Address | None:
    """The node that serves the slot now, if one of the replies says so."""
    for reply in replies:
        if isinstance(reply, MovedError):
            return str(reply.host), int(reply.port)
    return None
