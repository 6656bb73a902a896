"""The channel layer for ``daphne project.asgi:channel_layer``."""

from __future__ import annotations

import os

from channels.asgi import get_channel_layer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
channel_layer = get_channel_layer()
