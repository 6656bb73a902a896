"""The test project with a layer and a database that processes share."""

from __future__ import annotations

import os

from tests.channels.settings import *  # noqa: F403

if "TEST_REDIS_URL" in os.environ:
    _CONFIG = {"hosts": [os.environ["TEST_REDIS_URL"]], "prefix": os.environ["TEST_PREFIX"]}
    _BACKEND = "channel_layer.redis.RedisChannelLayer"
else:
    _CONFIG = {"path": os.environ["TEST_CHANNEL_FILE"]}
    _BACKEND = "channel_layer.sqlite.SqliteChannelLayer"

_CONFIG["channel_capacity"] = {"narrow": 2}  # type: ignore[assignment]
CHANNEL_LAYERS = {"default": {"BACKEND": _BACKEND, "CONFIG": _CONFIG, "ROUTING": []}}
