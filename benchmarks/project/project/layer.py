"""The channel layer for ``daphne project.layer:channel_layer``."""

from __future__ import annotations

from channels.asgi import get_channel_layer

channel_layer = get_channel_layer()
