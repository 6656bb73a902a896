"""The channel layer of a verification, for `daphne`."""

from __future__ import annotations

from ..asgi import get_channel_layer

channel_layer = get_channel_layer()
