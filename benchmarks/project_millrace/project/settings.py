"""Settings: the shared ones and a channel layer, as ``BENCH_LAYER`` says: ``asgi_redis`` is that of Channels 1."""

from __future__ import annotations

import os

from shared.settings import *  # noqa: F403
from shared.settings import CAPACITY, REDIS_URL

INSTALLED_APPS = ["channels"]

_REDIS = {
    "BACKEND": "channel_layer.redis.RedisChannelLayer",
    "CONFIG": {"hosts": [REDIS_URL], "capacity": CAPACITY},
    "ROUTING": "project.routing.channel_routing",
}
_ASGI_REDIS = {**_REDIS, "BACKEND": "asgi_redis.RedisChannelLayer"}
_SQLITE = {
    "BACKEND": "channel_layer.sqlite.SqliteChannelLayer",
    "CONFIG": {"path": os.path.join(os.environ["BENCH_DIRECTORY"], "layer.sqlite3"), "capacity": CAPACITY},
    "ROUTING": "project.routing.channel_routing",
}

_LAYERS = {"redis": _REDIS, "sqlite": _SQLITE, "asgi_redis": _ASGI_REDIS}

CHANNEL_LAYERS = {"default": _LAYERS[os.environ.get("BENCH_LAYER", "redis")]}
