"""From an entry of CHANNEL_LAYERS to a layer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias

from django.utils.module_loading import import_string

from channel_layer.draft import adapted
from channel_layer.exceptions import LayerConfigurationError, UnknownLayer
from channel_layer.layer import ChannelLayer
from channel_layer.redaction import redact

from .base_layer import BaseChannelLayer
from .coroutine_layer import CoroutineChannelLayer

REDIS = "channel_layer.redis.RedisChannelLayer"
SENTINEL = "channel_layer.redis.RedisSentinelChannelLayer"
MEMORY = "channel_layer.memory.MemoryChannelLayer"
SQLITE = "channel_layer.sqlite.SqliteChannelLayer"

CHANNELS_REDIS = {
    "channels_redis.core.RedisChannelLayer": "channels.redis_layers.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer": "channels.redis_layers.RedisPubSubChannelLayer",
}

ALIASES = {
    "asgi_redis.RedisChannelLayer": REDIS,
    "asgi_redis.core.RedisChannelLayer": REDIS,
    "asgi_redis.RedisLocalChannelLayer": REDIS,
    "asgi_redis.local.RedisLocalChannelLayer": REDIS,
    "asgi_redis.RedisSentinelChannelLayer": SENTINEL,
    "asgi_redis.sentinel.RedisSentinelChannelLayer": SENTINEL,
    "asgiref.inmemory.ChannelLayer": MEMORY,
    "asgi_ipc.IPCChannelLayer": SQLITE,
    "asgi_ipc.core.IPCChannelLayer": SQLITE,
    **CHANNELS_REDIS,
}
"""Backends of Channels 1 and of channels_redis → those that take their place."""

_NO_RABBITMQ = f"RabbitMQ is not supported yet; use {REDIS!r}"

UNAVAILABLE = {
    "asgi_rabbitmq.RabbitmqChannelLayer": _NO_RABBITMQ,
    "asgi_rabbitmq.RabbitmqLocalChannelLayer": _NO_RABBITMQ,
}
"""Backends that cannot be used, and why."""

IGNORED_OPTIONS = {
    "asgi_redis.RedisChannelLayer": {"stats_prefix"},
    "asgi_redis.core.RedisChannelLayer": {"stats_prefix"},
    "asgi_redis.RedisLocalChannelLayer": {"stats_prefix"},
    "asgi_redis.local.RedisLocalChannelLayer": {"stats_prefix"},
    "asgi_redis.RedisSentinelChannelLayer": {"stats_prefix", "sentinel_refresh_interval"},
    "asgi_redis.sentinel.RedisSentinelChannelLayer": {"stats_prefix", "sentinel_refresh_interval"},
    "asgi_ipc.IPCChannelLayer": {"channel_memory", "group_memory"},
    "asgi_ipc.core.IPCChannelLayer": {"channel_memory", "group_memory"},
}
"""Options of an old backend that mean nothing to the one in its place."""

RENAMED_OPTIONS = {
    "asgi_ipc.IPCChannelLayer": {"prefix": "name"},
    "asgi_ipc.core.IPCChannelLayer": {"prefix": "name"},
}
"""Options of an old backend that have another name in the one in its place."""


Config: TypeAlias = Mapping[str, Any]
"""An entry of CHANNEL_LAYERS, or its CONFIG, as the project has written it."""


class InvalidChannelLayerError(LayerConfigurationError, ValueError):
    """An entry of CHANNEL_LAYERS that cannot work.

    Args:
        alias: the entry, or ``None`` when it is about the setting as a whole.
        reason: what is wrong and what to do.
    """

    def __init__(self, alias: str | None, reason: str | None = None) -> None:
        if reason is None:  # as in Channels 4: one argument, the reason
            alias, reason = None, str(alias)
        self.alias = alias
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason if self.alias is None else f"CHANNEL_LAYERS[{self.alias!r}]: {self.reason}"

    def __reduce__(self) -> tuple[type, tuple[str | None, str]]:
        return type(self), (self.alias, self.reason)


class UnknownChannelLayerError(InvalidChannelLayerError, UnknownLayer):
    """There is no entry of CHANNEL_LAYERS with this alias."""


class ForeignChannelLayerError(InvalidChannelLayerError):
    """A layer for Channels 2 to 4 that is not of this project: code may send through it, connections cannot."""


def backend_class(alias: str, config: Config) -> Any:
    """The class that an entry's BACKEND names; raises `InvalidChannelLayerError`."""
    path = config.get("BACKEND")
    if not path or not isinstance(path, str):
        raise InvalidChannelLayerError(alias, f"BACKEND is missing; set it to a dotted path, for example {REDIS!r}")
    if path in UNAVAILABLE:
        raise InvalidChannelLayerError(alias, f"BACKEND {path!r} cannot be used: {UNAVAILABLE[path]}")
    target = ALIASES.get(path, path)
    try:
        return import_string(target)
    except ImportError as error:
        shown = repr(path) if path == target else f"{path!r} (now {target!r})"
        raise InvalidChannelLayerError(alias, f"BACKEND {shown} cannot be imported: {error}") from error


def is_foreign(alias: str, config: Config) -> bool:
    """True if BACKEND names a class for Channels 2 to 4 that is not of this project; raises as `backend_class`."""
    backend = backend_class(alias, config)
    return (
        inspect.isclass(backend)
        and issubclass(backend, BaseChannelLayer)
        and not issubclass(backend, CoroutineChannelLayer)
    )


def make_layer(alias: str, config: Config, options: Config | None) -> Any:
    """Make the layer of an entry with the options of its CONFIG; raises `InvalidChannelLayerError`."""
    backend = backend_class(alias, config)
    if not isinstance(options or {}, Mapping):
        raise InvalidChannelLayerError(alias, f"CONFIG is a dict of options, not {type(options).__name__}")
    given = dict(options or {})
    for name in IGNORED_OPTIONS.get(config["BACKEND"], ()):
        given.pop(name, None)
    for name, new in RENAMED_OPTIONS.get(config["BACKEND"], {}).items():
        if name in given:
            given[new] = given.pop(name)
    known = _options(backend)
    unknown = sorted(set(given) - known) if known else []
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise InvalidChannelLayerError(
            alias, f"CONFIG has no option {names}; {backend.__name__} takes {', '.join(sorted(known))}"
        )
    try:
        return backend(**given)
    except LayerConfigurationError as error:
        raise InvalidChannelLayerError(alias, f"CONFIG does not work: {error}") from error
    except (TypeError, ValueError) as error:
        # Without its cause: texts that are not this distribution's may quote a password.
        raise InvalidChannelLayerError(alias, f"CONFIG does not work: {redact(error, given)}") from None


def conforming(alias: str, layer: object, options: object) -> ChannelLayer:
    """Return a layer that fulfils the contract: this one, or an adapter if it was written for Channels 1.

    Raises:
        InvalidChannelLayerError: it is neither, as one for Channels 2 and later.
    """
    try:
        return adapted(layer, options)
    except LayerConfigurationError as error:
        raise InvalidChannelLayerError(alias, f"BACKEND {error}") from None


def _options(backend: object) -> set[str]:
    """Names of the keyword arguments a backend takes; empty if they cannot be known."""
    names: set[str] = set()
    for cls in inspect.getmro(backend) if inspect.isclass(backend) else ():
        init = cls.__dict__.get("__init__")
        if init is None or cls is object:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        names.update(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names
    return set()
