"""`Channel` and `Group`, under the names that applications for Channels 1 import."""

from __future__ import annotations

from channel_layer.channel import Channel, Group

__all__ = ["Channel", "Group"]
