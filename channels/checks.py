"""System checks: what is wrong with an installation or its settings, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from routing import Router, RoutingError

from .backends import (
    ALIASES,
    CHANNELS_REDIS,
    REDIS,
    SENTINEL,
    Config,
    ForeignChannelLayerError,
    InvalidChannelLayerError,
)
from .configured_layers import channel_layers, require_work
from .hosting.carrying import check_application
from .hosting.checkpoint_classes import check_checkpoint_classes
from .runtime.silent_routes import silent_routes
from .session_stores import uses_connections

TAG = "channels"

SHORTEST_KEY = 16
"""Characters of an encryption key that nobody guesses, if they are random."""

FEWEST_CHARACTERS = 5
"""Different ones in such a key, as Django wants of SECRET_KEY."""


@register(TAG)
def check_layers(**kwargs: object) -> list[CheckMessage]:
    """CHANNEL_LAYERS: each entry can be made, and workers have something to run.

    Redis asks for a password where others can reach it.
    """
    found: list[CheckMessage] = []
    try:
        configs = channel_layers.configs
    except InvalidChannelLayerError as error:
        return [Error(str(error), id="channels.E001")]
    for alias, config in configs.items():
        try:
            layer = channel_layers.make_backend(alias)
        except ForeignChannelLayerError as error:
            found.append(Warning(str(error), id="channels.W005"))
            continue
        except InvalidChannelLayerError as error:
            found.append(Error(str(error), id="channels.E001"))
            continue
        layer.close()
        try:
            require_work(alias, config.get("ROUTING"))
        except InvalidChannelLayerError as error:
            found.append(Warning(str(error), id="channels.W006"))
        options = config.get("CONFIG") or {}
        found.extend(_weak_keys(alias, options))
        if _is_redis(config):
            found.extend(_open_redis(alias, options))
    return found


@register(TAG)
def check_routings(**kwargs: object) -> list[CheckMessage]:
    """ROUTING: every route can work."""
    found: list[CheckMessage] = []
    for alias, config in _entries():
        if config.get("ROUTING") is None:
            continue
        try:
            router = Router(config["ROUTING"])
        except RoutingError as error:
            found.append(Error(f"CHANNEL_LAYERS[{alias!r}]: ROUTING does not work. {error}", id="channels.E002"))
        else:
            found.extend(silent_routes(alias, router))
    return found


@register(TAG)
def check_asgi_application(**kwargs: object) -> list[CheckMessage]:
    """ASGI_APPLICATION can be run, and its consumers can be carried over a deploy."""
    return check_application()


@register(TAG)
def check_session_store(**kwargs: object) -> list[CheckMessage]:
    """CHANNEL_SESSION_STORE has a value that exists."""
    try:
        uses_connections()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="channels.E003")]
    return []


@register(TAG)
def check_checkpoints(**kwargs: object) -> list[CheckMessage]:
    """CHANNEL_CHECKPOINT_CLASSES has a value that can be used."""
    return check_checkpoint_classes()


def _entries() -> Iterable[tuple[str, Any]]:
    try:
        return [(alias, config) for alias, config in channel_layers.configs.items() if isinstance(config, dict)]
    except InvalidChannelLayerError:
        return []


def _is_redis(config: Config) -> bool:
    path = config.get("BACKEND") or ""
    return ALIASES.get(path, path) in (REDIS, SENTINEL, *CHANNELS_REDIS.values())


def _open_redis(alias: str, options: Config) -> Iterable[CheckMessage]:
    from channel_layer.redis.servers import parse_hosts

    hosts, connection_kwargs = options.get("hosts"), options.get("connection_kwargs")
    for host in parse_hosts(hosts, connection_kwargs, options.get("services"), options.get("sentinel_kwargs")):
        if not host.has_password and not host.is_local:
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}]: Redis at {host.name} is used without a password; whoever reaches it can "
                "read and send every message.",
                hint="Set a password (redis://:password@host:6379/0), and keep the port off public networks.",
                id="channels.W001",
            )


def _weak_keys(alias: str, options: Config) -> Iterable[CheckMessage]:
    for position, key in enumerate(options.get("symmetric_encryption_keys") or ()):
        if len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_CHARACTERS:
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}]: symmetric_encryption_keys[{position}] has fewer than {SHORTEST_KEY} "
                f"characters or fewer than {FEWEST_CHARACTERS} different ones; who records messages can guess it.",
                hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                id="channels.W002",
            )
