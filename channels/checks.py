"""System checks: what is wrong with an installation or its settings, before anything runs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.installation import check_installation
from routing import Router, RoutingError

from .backends import ALIASES, REDIS, InvalidChannelLayerError
from .layers import channel_layers
from .session_stores import uses_connections

TAG = "channels"

SHORTEST_KEY = 16
"""Characters of an encryption key that nobody guesses, if they are random."""

FEWEST_CHARACTERS = 5
"""Different ones in such a key, as Django wants of SECRET_KEY."""


@register(TAG)
def check_layers(**kwargs: Any) -> list[CheckMessage]:
    """CHANNEL_LAYERS: each entry can be made; Redis asks for a password where others can reach it."""
    found: list[CheckMessage] = []
    try:
        configs = channel_layers.configs
    except InvalidChannelLayerError as error:
        return [Error(str(error), id="channels.E001")]
    for alias, config in configs.items():
        try:
            layer = channel_layers.make_backend(alias)
        except InvalidChannelLayerError as error:
            found.append(Error(str(error), id="channels.E001"))
            continue
        layer.close()
        found.extend(_weak_keys(alias, config.get("CONFIG") or {}))
        if _is_redis(config):
            found.extend(_open_redis(alias, (config.get("CONFIG") or {}).get("hosts") or ()))
    return found


@register(TAG)
def check_routings(**kwargs: Any) -> list[CheckMessage]:
    """ROUTING: every route can work."""
    found: list[CheckMessage] = []
    for alias, config in _entries():
        if "ROUTING" not in config:
            continue
        try:
            Router(config["ROUTING"])
        except RoutingError as error:
            found.append(Error(f"CHANNEL_LAYERS[{alias!r}]: ROUTING does not work. {error}", id="channels.E002"))
    return found


@register(TAG)
def check_session_store(**kwargs: Any) -> list[CheckMessage]:
    """CHANNEL_SESSION_STORE has a value that exists."""
    try:
        uses_connections()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="channels.E003")]
    return []


@register(TAG)
def check_imports(**kwargs: Any) -> list[CheckMessage]:
    """The packages that get imported are this distribution's own."""
    try:
        check_installation()
    except LayerConfigurationError as error:
        return [Error(str(error), id="channels.E004")]
    return []


def _entries() -> Iterable[tuple[str, Any]]:
    try:
        return [(alias, config) for alias, config in channel_layers.configs.items() if isinstance(config, dict)]
    except InvalidChannelLayerError:
        return []


def _is_redis(config: Any) -> bool:
    path = config.get("BACKEND")
    return bool(ALIASES.get(path, path) == REDIS)


def _open_redis(alias: str, hosts: Sequence[Any]) -> Iterable[CheckMessage]:
    for host in [hosts] if isinstance(hosts, str) else hosts:
        name, has_password = _host_of(host)
        if not has_password and not _is_local(name):
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}]: Redis at {name} is used without a password; whoever reaches it can read "
                "and send every message.",
                hint="Set a password (redis://:password@host:6379/0), and keep the port off public networks.",
                id="channels.W001",
            )


def _weak_keys(alias: str, options: Mapping[str, Any]) -> Iterable[CheckMessage]:
    for position, key in enumerate(options.get("symmetric_encryption_keys") or ()):
        if len(key) < SHORTEST_KEY or len(set(key)) < FEWEST_CHARACTERS:
            yield Warning(
                f"CHANNEL_LAYERS[{alias!r}]: symmetric_encryption_keys[{position}] has fewer than {SHORTEST_KEY} "
                f"characters or fewer than {FEWEST_CHARACTERS} different ones; who records messages can guess it.",
                hint="Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                id="channels.W002",
            )


def _host_of(host: Any) -> tuple[str, bool]:
    """Host name of an entry of ``hosts``, and whether it comes with a password."""
    if isinstance(host, dict):
        if host.get("unix_socket_path") or host.get("path"):
            return "localhost", True
        address = host.get("address") or host.get("url")
        if isinstance(address, str) and "://" in address:
            name, has_password = _host_of(address)
            return name, has_password or bool(host.get("password"))
        return str(host.get("host") or "localhost"), bool(host.get("password"))
    if isinstance(host, (tuple, list)) and host:
        return str(host[0]), False
    parts = urlsplit(str(host))
    if parts.scheme == "unix":
        return "localhost", True
    return parts.hostname or "localhost", bool(parts.password) or "password=" in parts.query


def _is_local(name: str) -> bool:
    if name in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
