"""Sends that are held back while a consumer runs.

Whoever runs a consumer makes an `Outbox` current for the time of the run; `Channel.send` and
`Group.send` put what they prepared into it instead of sending. What happens with the collected items
(sent together when the consumer returns, dropped when it raises) is the runner's decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .delivery import Outgoing

Outbox = list[tuple[Any, Outgoing]]
"""Collected sends in order: the layer each belongs to, and the prepared message."""

_current: ContextVar[Outbox | None] = ContextVar("channel_layer_outbox", default=None)

current_outbox = _current.get
"""The outbox that collects sends in this context, or ``None``: then sends happen at once."""


@contextmanager
def collecting(outbox: Outbox) -> Iterator[Outbox]:
    """Make an outbox current inside a ``with`` block; blocks nest."""
    token = _current.set(outbox)
    try:
        yield outbox
    finally:
        _current.reset(token)
