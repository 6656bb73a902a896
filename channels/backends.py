"""From an entry of CHANNEL_LAYERS to a layer."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias

from django.conf import settings
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
POSTGRES = "channel_layer.postgres.PostgresChannelLayer"
RABBITMQ = "channel_layer.rabbitmq.RabbitmqChannelLayer"
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
    "asgi_rabbitmq.RabbitmqChannelLayer": RABBITMQ,
    "asgi_rabbitmq.RabbitmqLocalChannelLayer": RABBITMQ,
    "channels_rabbitmq.core.RabbitmqChannelLayer": RABBITMQ,
    "asgiref.inmemory.ChannelLayer": MEMORY,
    "asgi_ipc.IPCChannelLayer": SQLITE,
    "asgi_ipc.core.IPCChannelLayer": SQLITE,
    **CHANNELS_REDIS,
}
"""Backends of Channels 1 and of channels_redis → those that take their place."""

IGNORED_OPTIONS = {
    "asgi_redis.RedisChannelLayer": {"stats_prefix"},
    "asgi_redis.core.RedisChannelLayer": {"stats_prefix"},
    "asgi_redis.RedisLocalChannelLayer": {"stats_prefix"},
    "asgi_redis.local.RedisLocalChannelLayer": {"stats_prefix"},
    "asgi_redis.RedisSentinelChannelLayer": {"stats_prefix", "sentinel_refresh_interval"},
    "asgi_redis.sentinel.RedisSentinelChannelLayer": {"stats_prefix", "sentinel_refresh_interval"},
    "channels_rabbitmq.core.RabbitmqChannelLayer": {"local_capacity", "local_expiry", "groups_exchange"},
    "asgi_ipc.IPCChannelLayer": {"channel_memory", "group_memory"},
    "asgi_ipc.core.IPCChannelLayer": {"channel_memory", "group_memory"},
}
"""Options of an old backend that mean nothing to the one in its place."""

RENAMED_OPTIONS = {
    "channels_rabbitmq.core.RabbitmqChannelLayer": {"host": "url", "remote_capacity": "capacity"},
    "asgi_ipc.IPCChannelLayer": {"prefix": "name"},
    "asgi_ipc.core.IPCChannelLayer": {"prefix": "name"},
}
"""Options of an old backend that have another name in the one in its place."""

DJANGOS_OWN = {"assume_role", "isolation_level", "pool", "server_side_binding", "client_encoding", "cursor_factory"}
"""Entries of a database's OPTIONS that are for Django and not for PostgreSQL's library."""

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
    if getattr(backend, "takes_database", False):
        _add_dsn(alias, given)
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


def _add_dsn(alias: str, given: dict[str, object]) -> None:
    """Put the address of the project's database into options that have none; ``database`` names its entry."""
    if "dsn" in given:
        if "database" in given:
            raise InvalidChannelLayerError(alias, "CONFIG has both dsn and database; give one of them")
        return
    name = given.pop("database", "default")
    entry: Config | None = settings.DATABASES.get(name) if isinstance(name, str) else None
    if entry is None:
        known = ", ".join(map(repr, settings.DATABASES)) or "none"
        raise InvalidChannelLayerError(alias, f"CONFIG: DATABASES has no entry {name!r} (database); there are {known}")
    if entry.get("ENGINE", "").rpartition(".")[2] not in ("postgresql", "postgis"):
        raise InvalidChannelLayerError(
            alias,
            f"CONFIG: DATABASES[{name!r}] is not a PostgreSQL database (its ENGINE is {entry.get('ENGINE')!r}). Name "
            "another entry (database), or give an address (dsn).",
        )
    from psycopg.conninfo import make_conninfo  # the layer was imported, so it is there

    options = {key: value for key, value in entry.get("OPTIONS", {}).items() if key not in DJANGOS_OWN}
    places = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    options.update((option, entry[key]) for option, key in places.items() if entry.get(key))
    given["dsn"] = make_conninfo(**options)


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
