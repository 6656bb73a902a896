"""`Message`, under the name an application imports."""

from __future__ import annotations

from channel_layer.channel import Message

__all__ = ["Message"]
