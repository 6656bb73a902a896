"""Sends that are held back while a consumer runs.

Whoever runs a consumer makes an `Outbox` current for the time of the run; `Channel.send` and
`Group.send` put what they prepared into it instead of sending. What happens with the collected items
(sent together when the consumer returns, dropped when it raises) is the runner's decision.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from .delivery import Outgoing

if TYPE_CHECKING:
    from .layer import ChannelLayer

Outbox: TypeAlias = "list[tuple[ChannelLayer, Outgoing]]"
"""Collected sends in order: the layer each belongs to, and the prepared message."""

_current: ContextVar[Outbox | None] = ContextVar("channel_layer_outbox", default=None)

current_outbox = _current.get
"""The outbox that collects sends in this context, or ``None``: then sends happen at once."""


begin_collecting = _current.set
"""Make an outbox current in this context; returns the token for `end_collecting`. `stop_collecting` needs none."""

end_collecting = _current.reset
"""Make the outbox current again that was so before; calls nest. A context manager would cost four times as much."""


def stop_collecting() -> None:
    """Send at once in this context from now on, whatever it was copied from."""
    _current.set(None)
