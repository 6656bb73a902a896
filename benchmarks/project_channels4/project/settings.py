"""Settings: the shared ones and channels_redis' layer, ``core`` or ``pubsub`` as ``BENCH_LAYER`` says."""

from __future__ import annotations

import os

from shared.settings import *  # noqa: F403
from shared.settings import CAPACITY, REDIS_URL

INSTALLED_APPS = ["channels"]
ASGI_APPLICATION = "project.asgi.application"

_CORE = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [REDIS_URL], "capacity": CAPACITY},
}
_PUBSUB = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}

CHANNEL_LAYERS = {"default": {"core": _CORE, "pubsub": _PUBSUB}[os.environ.get("BENCH_LAYER", "core")]}
