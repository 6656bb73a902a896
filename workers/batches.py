"""The sizes of writes to the layer."""

from __future__ import annotations

from collections.abc import Sequence

from channel_layer.delivery import Outgoing

BATCH_BYTES = 2_097_152
"""Bytes of one write, unless a single message is larger."""

OVERHEAD = 256
"""Bytes that a message takes beside its body."""


def fitting(items: Sequence[Outgoing]) -> int:
    """Count the messages, from the first one on, that go into one write."""
    size = 0
    for count, item in enumerate(items):
        size += len(item.body) + OVERHEAD
        if size > BATCH_BYTES and count:
            return count
    return len(items)
