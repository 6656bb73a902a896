"""The sizes of writes to the layer."""

from __future__ import annotations

from channel_layer.delivery import Outgoing
from workers.batches import BATCH_BYTES, OVERHEAD, fitting


def items(*sizes: int) -> list[Outgoing]:
    return [Outgoing("a", b"x" * size) for size in sizes]


def test_a_write_takes_what_fits_and_one_message_at_least() -> None:
    half = BATCH_BYTES // 2 - OVERHEAD
    assert fitting([]) == 0
    assert fitting(items(1, 2, 3)) == 3
    assert fitting(items(half, half, 1)) == 2
    assert fitting(items(half, half + 1, 1)) == 1
    assert fitting(items(2 * BATCH_BYTES, 1)) == 1
