"""Settings: the shared ones and channels_redis' layer, ``core`` or ``pubsub`` as ``BENCH_LAYER`` says."""

from __future__ import annotations

import os

from shared.settings import *  # noqa: F403
from shared.settings import CAPACITY, REDIS_URL

INSTALLED_APPS = ["channels"]
ASGI_APPLICATION = "project.asgi.application"

# redis-py 8 gives up reading after 5 s, which is as long as channels_redis 4.3 waits for a message: without this,
# every socket that gets none for 5 s is closed.
_HOST = {"address": REDIS_URL, "socket_timeout": None}

_CORE = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [_HOST], "capacity": CAPACITY},
}
_PUBSUB = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [_HOST]}}

CHANNEL_LAYERS = {"default": {"core": _CORE, "pubsub": _PUBSUB}[os.environ.get("BENCH_LAYER", "core")]}
