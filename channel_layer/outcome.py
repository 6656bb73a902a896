"""The fate of each message of a batch whose sending failed, wholly or in part."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .delivery import Outgoing
    from .exceptions import LayerUnavailable


class Fate(Enum):
    """Fate of one message."""

    STORED = "stored"
    FULL = "refused, because its channel is full"
    UNSENT = "certainly not stored; it may be sent again"
    UNKNOWN = "stored or not; sending it again could deliver it twice"


class Outcome:
    """Those messages of a batch that were not surely stored. All others of the batch were.

    Attributes:
        refused, unsent, unknown: see `Fate`: ``FULL``, ``UNSENT``, ``UNKNOWN``.
    """

    __slots__ = ("refused", "unknown", "unsent")

    def __init__(
        self,
        refused: Sequence[Outgoing] = (),
        unsent: Sequence[Outgoing] = (),
        unknown: Sequence[Outgoing] = (),
    ) -> None:
        self.refused = refused
        self.unsent = unsent
        self.unknown = unknown


def fates(items: Sequence[Outgoing], refused: Sequence[Outgoing], error: LayerUnavailable | None) -> list[Fate]:
    """The fate of each message of a batch, in the order of the batch.

    Args:
        items: the batch.
        refused: what `ChannelLayer.send_batch` returned.
        error: or what it raised. If that has no `Outcome`, all messages share one fate.
    """
    outcome = Outcome(refused) if error is None else error.outcome
    if outcome is None:
        assert error is not None
        return [Fate.UNKNOWN if error.uncertain else Fate.UNSENT] * len(items)
    by_item = dict.fromkeys(map(id, outcome.unsent), Fate.UNSENT)
    by_item.update(dict.fromkeys(map(id, outcome.refused), Fate.FULL))
    by_item.update(dict.fromkeys(map(id, outcome.unknown), Fate.UNKNOWN))
    stored = Fate.STORED
    return [by_item.get(id(item), stored) for item in items]
