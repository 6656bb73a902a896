"""Settings: the shared ones and the layer of channels_redis."""

from __future__ import annotations

from shared.settings import *  # noqa: F403
from shared.settings import CAPACITY, REDIS_URL

INSTALLED_APPS = ["channels"]
ASGI_APPLICATION = "project.asgi.application"

# redis-py 8 gives up reading after 5 s, which is as long as channels_redis 4.3 waits for a message: without this,
# every socket that gets none for 5 s is closed.
_HOST = {"address": REDIS_URL, "socket_timeout": None}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [_HOST], "capacity": CAPACITY},
    }
}
