"""Looks into a layer that change nothing: what waits on a channel, which groups there are and who is in them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from . import codec
from .delivery import Headers, Message

INSPECTION: Final = "inspection"
"""Name of the extension: ``peek``, ``group_sizes`` and ``group_members`` of `ChannelLayer`."""

MOST_BYTES: Final = 4_194_304
"""Bytes from which a look at a channel is cut short, so that large messages do not hold the broker up."""


class Waiting(NamedTuple):
    """A message that waits on a channel.

    Attributes:
        mark: tells it apart from the others on its channel, for as long as it waits there. Of equal messages that were
            sent at the same moment the first has it.
        channel: the full name of the channel that it is for; for a message to a group the name that is read.
        group: the group that it was sent to; empty for a message to one channel, and if the layer does not say.
        size: bytes that it takes on the broker.
        age: seconds since it was stored, by the broker's clock.
        message: the content; ``None`` if it cannot be read.
        headers: see `channel_layer.delivery.Headers`.
        reason: why it cannot be read, as a clause.
    """

    mark: str
    channel: str
    group: str
    size: int
    age: float
    message: Message | None
    headers: Headers | None
    reason: str = ""


class GroupSizes(NamedTuple):
    """The groups that have members.

    Attributes:
        total: number of all of them.
        largest: names and numbers of members, the largest first.
    """

    total: int
    largest: list[tuple[str, int]]


class GroupMembers(NamedTuple):
    """The members of a group.

    Attributes:
        total: number of all of them.
        channels: full names of some of them, or of all, in no order.
    """

    total: int
    channels: list[str]


class Look(NamedTuple):
    """An element of a queue, for the backends.

    Attributes:
        mark: see `Waiting`; equal elements may share it.
        frame: as `channel_layer.codec` makes it, or the reason why it cannot be had.
        size, age: see `Waiting`.
    """

    mark: str
    frame: bytes | str
    size: int
    age: float


def opened(reader: str, looks: Iterable[Look], max_frame_size: int) -> list[Waiting]:
    """Turn elements of ``reader``'s queue into what they say. Those that tell of memberships are left out."""
    found = []
    seen: Counter[str] = Counter()
    for look in looks:
        seen[look.mark] += 1
        mark = f"{look.mark}.{seen[look.mark]}"
        try:
            if isinstance(look.frame, str):
                raise codec.InvalidFrame(look.frame)
            kind, address, content, headers = codec.unpack_frame(look.frame, max_frame_size)
        except codec.InvalidFrame as error:
            found.append(Waiting(mark, reader, "", look.size, look.age, None, None, str(error)))
            continue
        if kind == codec.DIRECT:
            found.append(Waiting(mark, reader + address, "", look.size, look.age, content, headers))
        elif kind == codec.GROUP:
            found.append(Waiting(mark, reader, address, look.size, look.age, content, headers))
    return found


def mark_of(expires: float, data: bytes) -> str:
    """The mark of a stored frame, for layers whose numbers of frames change when they are put back."""
    return hashlib.blake2b(data, digest_size=8, key=repr(expires).encode()).hexdigest()


def largest(sizes: dict[str, int], limit: int) -> GroupSizes:
    """Order groups by their size, and by name among equals."""
    present = [(group, size) for group, size in sizes.items() if size]
    return GroupSizes(len(present), sorted(present, key=lambda pair: (-pair[1], pair[0]))[:limit])
