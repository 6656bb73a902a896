"""Settings: the shared ones and a channel layer, which ``BENCH_LAYER`` chooses."""

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
_SQLITE = {
    "BACKEND": "channel_layer.sqlite.SqliteChannelLayer",
    "CONFIG": {"path": os.path.join(os.environ["BENCH_DIRECTORY"], "layer.sqlite3"), "capacity": CAPACITY},
    "ROUTING": "project.routing.channel_routing",
}

CHANNEL_LAYERS = {"default": {"redis": _REDIS, "sqlite": _SQLITE}[os.environ.get("BENCH_LAYER", "redis")]}
