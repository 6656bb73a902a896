"""From the options of a layer to its servers: those that are given, and those that Sentinels choose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import LayerConfigurationError
from . import cluster
from .cluster_host import ClusterHost
from .hosts import Host
from .moving_host import Watch, options_for_asking
from .sentinel_host import SentinelHost
from .sentinels import DEFAULT_PORT, Sentinels

SENTINEL_OPTIONS = ("sentinels", "master_name", "sentinel_kwargs")
ADDRESS_OPTIONS = ("address", "host", "port", "path")


def parse_hosts(
    hosts: Any,
    connection_kwargs: Mapping[str, Any] | None,
    services: Any = None,
    sentinel_kwargs: Mapping[str, Any] | None = None,
    fence_key: str = "asgi:f:",
) -> list[Host]:
    """The configured servers; without any, the one on this machine.

    Args:
        hosts: servers; see `Host`. A dict with ``sentinels`` and ``master_name`` stands for the primary of a service,
            with its other items for connections to that.
        connection_kwargs: more arguments for connections to servers.
        services: names of services; with them, ``hosts`` are Sentinels, and each service is a server.
        sentinel_kwargs: more arguments for connections to Sentinels.
        fence_key: see `SentinelHost`.

    Raises:
        LayerConfigurationError: one of them cannot be used, or two options contradict each other.
    """
    _check_list(hosts, "servers")
    if services is not None:
        return _services(
            hosts or [("localhost", DEFAULT_PORT)], services, connection_kwargs, sentinel_kwargs, fence_key
        )
    hosts = hosts or [("localhost", 6379)]
    several = len(hosts) > 1
    found: list[Host] = []
    for position, spec in enumerate(hosts):
        label = f"hosts[{position}]"
        if _names_sentinels(spec):
            host: Host = _watched(spec, label, connection_kwargs, sentinel_kwargs, fence_key, several)
            if any(host.name == other.name for other in found):
                host.name += f" ({label})"  # two groups of Sentinels may give the same name
            found.append(host)
        else:
            found.append(Host(spec, connection_kwargs, label, several))
    if sentinel_kwargs and not any(isinstance(host, SentinelHost) for host in found):
        raise LayerConfigurationError(
            "'sentinel_kwargs' has nothing to be for: no Sentinels are given. Name the services that they watch in "
            "'services', or leave it away"
        )
    return found


def cluster_hosts(
    nodes: Any, connection_kwargs: Mapping[str, Any] | None, tags: Sequence[str], fence_keys: Sequence[str]
) -> list[ClusterHost]:
    """Read ``hosts`` as nodes of a cluster, any of them; returns a host for each tag.

    Raises:
        LayerConfigurationError: an entry makes no sense.
    """
    _check_list(nodes, "nodes")
    nodes = nodes or [("localhost", 6379)]
    for position, spec in enumerate(nodes):
        if _names_sentinels(spec):
            raise LayerConfigurationError(f"hosts[{position}] names a service of Sentinel; a cluster has nodes alone")
    seeds = [
        Host(spec, options_for_asking(connection_kwargs), f"hosts[{position}]") for position, spec in enumerate(nodes)
    ]
    for position, seed in enumerate(seeds):
        if re.search(r"/[1-9]\d*/?$", seed.name) or seed.name.startswith("unix:"):
            raise LayerConfigurationError(
                f"hosts[{position}] ({seed.name}) cannot be a node of a cluster: that has a host and database 0"
            )
    scheme, _, place = seeds[0].name.partition("://")
    found = cluster.Cluster(seeds, f"{scheme}+cluster://{place.partition('/')[0]}")
    watch = Watch(cluster.SlotGuide(found, 0), "redis-cluster")
    return [
        ClusterHost(cluster.SlotGuide(found, cluster.slot_of(tag)), watch, nodes[0], connection_kwargs, tag, fence_key)
        for tag, fence_key in zip(tags, fence_keys, strict=True)
    ]


def _check_list(hosts: Any, kind: str) -> None:
    if isinstance(hosts, (str, Mapping)) or not (hosts is None or isinstance(hosts, Sequence)):
        raise LayerConfigurationError(f"Redis 'hosts' must be a list of {kind}, not {type(hosts).__name__}")


def _services(
    hosts: Sequence[Any],
    services: Any,
    connection_kwargs: Mapping[str, Any] | None,
    sentinel_kwargs: Mapping[str, Any] | None,
    fence_key: str,
) -> list[Host]:
    if isinstance(services, (str, bytes)) or not isinstance(services, Sequence) or not services:
        raise LayerConfigurationError(
            "'services' is a list of at least one name, each as behind 'sentinel monitor' in a Sentinel's configuration"
        )
    for position, spec in enumerate(hosts):
        if _names_sentinels(spec):
            raise LayerConfigurationError(
                f"hosts[{position}] names a service by itself, and with 'services' every host is a Sentinel; "
                "use one of the two"
            )
    names = [_service(name, f"services[{position}]") for position, name in enumerate(services)]
    if len(set(names)) < len(names):
        raise LayerConfigurationError("'services' has a name twice; each stands for a server of its own")
    return [
        SentinelHost(
            Sentinels(_sentinels(hosts, "hosts", sentinel_kwargs), name),
            connection_kwargs or {},
            f"services[{position}]",
            fence_key,
            len(names) > 1,
        )
        for position, name in enumerate(names)
    ]


def _watched(
    spec: Mapping[str, Any],
    label: str,
    connection_kwargs: Mapping[str, Any] | None,
    sentinel_kwargs: Mapping[str, Any] | None,
    fence_key: str,
    is_one_of_several: bool,
) -> SentinelHost:
    for name in ADDRESS_OPTIONS:
        if name in spec:
            raise LayerConfigurationError(
                f"{label} has {name!r} and Sentinels, which say themselves where the server is; use one of the two"
            )
    for name in ("sentinels", "master_name"):
        if name not in spec:
            raise LayerConfigurationError(
                f"{label} has no {name!r}; a service needs 'sentinels', a list of addresses, and 'master_name'"
            )
    sentinels = spec["sentinels"]
    if isinstance(sentinels, (str, Mapping)) or not isinstance(sentinels, Sequence) or not sentinels:
        raise LayerConfigurationError(f"{label} has 'sentinels' that are not a list of at least one address")
    own = {**(sentinel_kwargs or {}), **(spec.get("sentinel_kwargs") or {})}
    options = {name: value for name, value in spec.items() if name not in SENTINEL_OPTIONS}
    return SentinelHost(
        Sentinels(
            _sentinels(sentinels, f"{label}: sentinels", own),
            _service(spec["master_name"], f"{label}: 'master_name'"),
        ),
        {**options, **(connection_kwargs or {})},
        label,
        fence_key,
        is_one_of_several,
    )


def _sentinels(specs: Sequence[Any], label: str, sentinel_kwargs: Mapping[str, Any] | None) -> list[Host]:
    options = options_for_asking(sentinel_kwargs)
    tls = options.pop("ssl", False)
    found = []
    for position, spec in enumerate(specs):
        if tls and isinstance(spec, Sequence) and not isinstance(spec, (str, bytes)) and len(spec) == 2:
            spec = f"rediss://{spec[0]}:{spec[1]}"
        found.append(Host(spec, options, f"{label}[{position}]"))
    return found


def _service(name: Any, label: str) -> str:
    if not isinstance(name, str) or not name:
        raise LayerConfigurationError(f"{label} is not the name of a service")
    return name


def _names_sentinels(spec: Any) -> bool:
    return isinstance(spec, Mapping) and any(name in spec for name in SENTINEL_OPTIONS)
