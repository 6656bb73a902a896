"""Settings of all peers. ``BENCH_LAYER`` chooses the channel layer, and with it the kind of consumers."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

DEBUG = False
SECRET_KEY = "only-for-measuring-on-the-loopback-interface"
ALLOWED_HOSTS = ["127.0.0.1"]
_NAME = os.environ["BENCH_LAYER"]
_APPLICATIONS = ("core", "postgres_core", "channels_postgres")
"""Layers with which consumers are an application for Channels 4."""

INSTALLED_APPS = ["channels", *(["channels_postgres"] if _NAME == "channels_postgres" else [])]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

ROOT_URLCONF = "project.urls"
USE_TZ = True

_DIRECTORY, _REDIS = os.environ["BENCH_DIRECTORY"], os.environ["BENCH_REDIS_URL"]

# Configured, as in any project, and used by nothing that is measured.
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(_DIRECTORY, "project.sqlite3")},
}

# Of its form is the configuration of channels_postgres, too.
_DSN = os.environ.get("BENCH_POSTGRES_DSN", "postgresql://nobody@127.0.0.1/none")
_PLACE = urlsplit(_DSN)
_POSTGRES = {
    "TIME_ZONE": None,
    "ENGINE": "django.db.backends.postgresql",
    "NAME": _PLACE.path.lstrip("/"),
    "USER": unquote(_PLACE.username or ""),
    "PASSWORD": unquote(_PLACE.password or ""),
    "HOST": _PLACE.hostname or "",
    "PORT": _PLACE.port or "",
}
if _NAME == "channels_postgres":
    DATABASES["channels_postgres"] = _POSTGRES

_LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "redis": ("channel_layer.redis.RedisChannelLayer", {"hosts": [_REDIS]}),
    "sqlite": ("channel_layer.sqlite.SqliteChannelLayer", {"path": os.path.join(_DIRECTORY, "layer.sqlite3")}),
    "postgres": ("channel_layer.postgres.PostgresChannelLayer", {"dsn": _DSN}),
    "rabbitmq": (
        "channel_layer.rabbitmq.RabbitmqChannelLayer",
        {"url": os.environ.get("BENCH_RABBITMQ_URL", "amqp://nobody:nothing@127.0.0.1/none"), "prefix": "bench:"},
    ),
    # A schema of its own: both layers run at the same time, and would take each other's messages.
    "postgres_core": ("channel_layer.postgres.PostgresChannelLayer", {"dsn": _DSN, "schema": "millrace_hosted"}),
    "channels_postgres": ("channels_postgres.core.PostgresChannelLayer", _POSTGRES),
    "asgi_redis": ("asgi_redis.RedisChannelLayer", {"hosts": [_REDIS]}),
    # redis-py 8 gives up reading after 5 s, which is as long as channels_redis 4.3 waits for a message: without this
    # timeout, every socket that gets none for 5 s is closed.
    "core": ("channels_redis.core.RedisChannelLayer", {"hosts": [{"address": _REDIS, "socket_timeout": None}]}),
}
_BACKEND, _CONFIG = _LAYERS[_NAME]

# More messages than a group send to all sockets can put into a channel, on either side.
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": _BACKEND, "CONFIG": {**_CONFIG, "capacity": 20_000}},
}
if _NAME in _APPLICATIONS:
    ASGI_APPLICATION = "project.classes.application"
else:
    CHANNEL_LAYERS["default"]["ROUTING"] = "project.functions.channel_routing"
