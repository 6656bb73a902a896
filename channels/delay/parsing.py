"""Checks of the messages on ``asgi.delay``."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

from django.utils import timezone

from channel_layer.delivery import Content
from channel_layer.exceptions import ChannelLayerError, clause
from channel_layer.layer import ChannelLayer
from channel_layer.messages import DelayMessage

from .models import DelayedMessage

CHANNEL = "asgi.delay"
"""The channel for delayed messages (ASGI 1 draft, "Delay Protocol")."""

DAY_MILLISECONDS = 86_400_000


class BadRequest(ValueError):
    """A message on ``asgi.delay`` that cannot be kept; the text says why."""


def parse(content: Content, layer: ChannelLayer) -> DelayedMessage:
    """Make the unsaved row that keeps a message.

    Args:
        content: ``channel``, a channel's name; ``content``, the message, a dict that JSON can hold;
            ``delay``, milliseconds from now.
        layer: checks that the message can be sent when it is due.

    Raises:
        BadRequest: it can never be sent.
    """
    for key in ("channel", "content", "delay"):
        if key not in content:
            raise BadRequest(f"the key {key!r} is missing; it must hold 'channel', 'content' and 'delay'")
    channel, message = content["channel"], content["content"]
    if not isinstance(message, dict):
        raise BadRequest(f"'content' is {type(message).__name__}, it must be a dict")
    try:
        layer.prepare(channel, message)  # type: ignore[arg-type]  # which checks the name
        text = json.dumps(message)
    except ChannelLayerError as error:
        raise BadRequest(str(error)) from None
    except (TypeError, ValueError) as error:
        raise BadRequest(
            f"'content' for {channel!r} cannot be stored: {clause(error)}. It is kept as JSON, which has no bytes"
        ) from None
    return DelayedMessage(channel_name=channel, content=text, due_date=_due(content["delay"]))


def _due(delay: object) -> datetime:
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not math.isfinite(delay):
        raise BadRequest(f"'delay' is {delay!r}, it must be a number of milliseconds")
    if delay < 0:
        raise BadRequest(f"'delay' is {delay!r}, it must be 0 or more milliseconds")
    try:
        return timezone.now() + timedelta(milliseconds=delay)
    except OverflowError:
        raise BadRequest(
            f"'delay' is {delay!r}, about {delay / DAY_MILLISECONDS:.3g} days, which is too long"
        ) from None


def remaining(row: DelayedMessage) -> DelayMessage:
    """Make the message on ``asgi.delay`` that keeps this row for the rest of its delay."""
    left = (row.due_date - timezone.now()) / timedelta(milliseconds=1)
    return {"channel": row.channel_name, "content": json.loads(row.content), "delay": max(0.0, left)}
