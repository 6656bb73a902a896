"""From configuration to connections: which servers there are and how to reach each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..exceptions import LayerConfigurationError

CONNECT_SECONDS = 1.0
OPERATION_SECONDS = 4.0
BLOCK_SECONDS = 2.0
"""Longest time one blocking pop waits in Redis; leaves `OPERATION_SECONDS` two seconds to spare."""

OLDEST_REDIS = (7, 0)


class Host:
    """One Redis server.

    Attributes:
        name: where it is, without secrets.
        timeout: seconds a pipeline may take.

    Args:
        spec: a URL (``redis://``, ``rediss://``, ``unix://``), a ``(host, port)`` pair, or a dict of
            arguments for redis-py, whose ``address`` may be any of the former.
        connection_kwargs: more arguments for redis-py's connections.

    Raises:
        LayerConfigurationError: the specification makes no sense.
    """

    def __init__(self, spec: Any, connection_kwargs: Mapping[str, Any] | None = None) -> None:
        extra = dict(connection_kwargs or {})
        if isinstance(spec, Mapping):
            own = dict(spec)
            address = own.pop("address", None)
            extra = {**own, **extra}
            spec = address if address is not None else (extra.pop("host", "localhost"), extra.pop("port", 6379))
        url = self._url(spec, extra.get("db", 0))
        options = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": OPERATION_SECONDS,
            "protocol": 2,
            # A Unix socket has no such option.
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            **extra,
        }
        self.timeout: float | None = options["socket_timeout"]
        try:
            # A send or pop whose answer is lost must not be tried again: it may have happened.
            sync_pool = redis.ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), **options)
            # The asyncio driver sets the time for a whole pipeline: redis-py's own timeout around each
            # write makes a task every time, and can swallow a cancellation on Python 3.11.
            options["socket_timeout"] = None
            async_retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
            async_pool = redis.asyncio.ConnectionPool.from_url(url, retry=async_retry, **options)
            self._make_sync: Callable[[], Any] = partial(sync_pool.connection_class, **sync_pool.connection_kwargs)
            self._make_async: Callable[[], Any] = partial(async_pool.connection_class, **async_pool.connection_kwargs)
            self._make_sync()
        except (ValueError, TypeError, redis.RedisError) as error:
            raise LayerConfigurationError(f"Redis host {redact(url)} cannot be used: {error}") from error
        self.name = redact(url)

    def connect_sync(self) -> Any:
        """A redis-py connection, not connected yet."""
        return self._make_sync()

    def connect_async(self) -> Any:
        """A redis-py asyncio connection, not connected yet."""
        return self._make_async()

    @staticmethod
    def _url(spec: Any, database: Any) -> str:
        if isinstance(spec, str):
            if "://" not in spec:
                raise LayerConfigurationError(
                    f"Redis host {spec!r} is no URL. Write it as redis://host:port/0, rediss://… or unix:///path."
                )
            return spec
        if isinstance(spec, Sequence) and len(spec) == 2:
            host = f"[{spec[0]}]" if ":" in str(spec[0]) else spec[0]
            return f"redis://{host}:{spec[1]}/{database}"
        raise LayerConfigurationError(
            f"Redis host {spec!r} is none of: a URL, a (host, port) pair, a dict of redis-py arguments"
        )


def parse_hosts(hosts: Any, connection_kwargs: Mapping[str, Any] | None) -> list[Host]:
    """The configured servers; without any, the one on this machine."""
    if not hosts:
        hosts = [("localhost", 6379)]
    if isinstance(hosts, (str, Mapping)) or not isinstance(hosts, Sequence):
        raise LayerConfigurationError(f"Redis 'hosts' must be a list of servers, not {type(hosts).__name__}")
    return [Host(spec, connection_kwargs) for spec in hosts]


def redact(url: str) -> str:
    """A URL without user, password and query, fit for logs."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = parts.hostname or "localhost"
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def check_version(info: Any, where: str) -> None:
    """Refuse a server that lacks the commands this layer is built on.

    ``info`` is the answer to ``INFO server``; a server that does not give it to us is taken as it is.
    """
    found = re.search(rb"^redis_version:(\d+)\.(\d+)(\S*)", info, re.MULTILINE) if isinstance(info, bytes) else None
    if found and (int(found[1]), int(found[2])) < OLDEST_REDIS:
        version = f"{int(found[1])}.{int(found[2])}{found[3].decode()}"
        raise LayerConfigurationError(
            f"Redis at {where} is version {version}; Redis 7.0 or later is needed, or Valkey. Upgrade the server."
        )
