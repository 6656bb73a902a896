"""From configuration to connections: which servers there are and how to reach each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable
from ..redaction import redact
from . import redis_py
from .address import ServerAddress
from .errors import DRIVER_ERRORS, IN_CLUSTER, translate, translate_opening
from .outage import Outage
from .scripts import Reply, Word

CONNECT_SECONDS = 1.0
OPERATION_SECONDS = 4.0
BLOCK_SECONDS = 2.0
"""Longest time one blocking pop waits in Redis; leaves `OPERATION_SECONDS` two seconds to spare."""

LISTEN_SECONDS = 0.5
"""Longest wait for a server to say why it refuses our certificate."""

OLDEST_REDIS = (7, 0)

IS_SENTINEL = "is a Sentinel. Name in 'services' what it watches, or give 'hosts' the servers themselves."


class Connected(Protocol):
    """A connection of a driver, as far as a host has to do with it."""

    def cut(self) -> None:
        """End it, from any thread: who waits on it gets an error, and it is opened anew before its next use."""


class Host:
    """One Redis server.

    Attributes:
        name: where it is, without secrets.
        timeout: seconds a pipeline may take.
        is_local: whether only this machine reaches it there.
        has_password: whether we show it one.
        outage: whether it is down.
        fence: time in milliseconds after 1970, at the server, before which nothing is delivered that was stored; see
            `channel_layer.redis.moving_host`. 0 for none.

    Args:
        spec: a URL (``redis://``, ``rediss://``, ``unix://``), a ``(host, port)`` pair, or a dict of
            arguments for redis-py, whose ``address`` may be any of the former.
        connection_kwargs: more arguments for redis-py's connections.
        label: what complaints call it.
        is_one_of_several: whether there are others to go on with when it is down.

    Raises:
        LayerConfigurationError: the specification makes no sense.
    """

    sections: ClassVar[tuple[str, ...]] = ("server",)
    """Sections of ``INFO`` that `admit` needs."""

    redirects: ClassVar[bool] = False
    """True for a server that may say that another one has a key, see `channel_layer.redis.redirections`."""

    def __init__(
        self,
        spec: Any,
        connection_kwargs: Mapping[str, Any] | None = None,
        label: str = "the Redis host",
        is_one_of_several: bool = False,
    ) -> None:
        address = ServerAddress.parse(spec, label, connection_kwargs or {})
        options = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": OPERATION_SECONDS,
            "protocol": 2,
            # A Unix socket has no such option.
            **({} if address.url.startswith("unix:") else {"socket_keepalive": True}),
            **address.options,
        }
        self.timeout: float | None = options["socket_timeout"]
        try:
            # A send or pop whose answer is lost must not be tried again: it may have happened.
            sync_pool = redis.ConnectionPool.from_url(address.url, retry=Retry(NoBackoff(), 0), **options)
            # The asyncio driver sets the time for a whole pipeline: redis-py's own timeout around each
            # write makes a task every time, and can swallow a cancellation on Python 3.11.
            options["socket_timeout"] = None
            async_retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
            async_pool = redis.asyncio.ConnectionPool.from_url(address.url, retry=async_retry, **options)
            self._make_sync: Callable[[], redis_py.RedisPyConnection] = _maker(sync_pool)
            self._make_async: Callable[[], redis_py.AsyncRedisPyConnection] = _maker(async_pool)
            self._make_sync()
        except (ValueError, TypeError, redis.RedisError) as error:
            reason = _unknown_option(error, address) or redact(error, [address.url, address.options])
            # Without its cause, whose text is not redacted.
            raise LayerConfigurationError(f"{label} ({address.name}) cannot be used: {reason}") from None
        self.name = address.name
        self.is_local = address.is_local
        known = sync_pool.connection_kwargs
        self.has_password = bool(known.get("password") or known.get("credential_provider"))
        self.outage = Outage(self.name, self._probe, matters=is_one_of_several)
        self.fence = 0.0

    def aim(self, connection: redis_py.AnyConnection, user: Connected | None) -> None:
        """Point a connection at the server, before it is opened. May ask others where that is.

        Args:
            connection: redis-py's.
            user: what to cut once the server is not the one any more.

        Raises:
            LayerUnavailable, LayerUnusable: nobody says where it is.
        """

    async def aaim(self, connection: redis_py.AnyConnection, user: Connected | None) -> None:
        """Async form of `aim`."""

    def admit(self, user: Connected, info: Any, loaded: Sequence[Any]) -> list[tuple[Word, ...]]:
        """Refuse a server that this layer cannot work with, going by its answers on a new connection.

        Returns:
            More commands for the server, whose replies `learn` wants.

        Raises:
            LayerUnavailable, LayerUnusable: nothing was stored or taken.
        """
        check_server(info, loaded, self.name)
        return []

    def learn(self, replies: Sequence[Reply]) -> None:
        """Take the replies to what `admit` returned; raises as `admit`."""

    def moved(self, address: tuple[str, int]) -> None:
        """The server says that another one has the keys; see `redirects`."""

    def close(self) -> None:
        """Look after the server no more; the next call begins again."""
        self.outage.close()

    def connect_sync(self) -> redis_py.RedisPyConnection:
        """A redis-py connection, not connected yet."""
        return self._make_sync()

    def connect_async(self) -> redis_py.AsyncRedisPyConnection:
        """A redis-py asyncio connection, not connected yet."""
        return self._make_async()

    @property
    def uses_tls(self) -> bool:
        """True if connections are encrypted."""
        return self.name.startswith("rediss")

    def listen_for_refusal(self) -> LayerUnavailable | None:
        """Read what a server says unasked on a new TLS connection: its objection to our certificate.

        For after a connection was cut off: where we have written first, a reset may discard what was said. Blocks.
        """
        listener = None
        try:
            connection = self._make_sync()
            self.aim(connection, None)
            listener = redis_py.opened_socket(connection)
            listener.settimeout(LISTEN_SECONDS)
            listener.recv(1)
        except LayerUnavailable:
            return None
        except DRIVER_ERRORS as error:
            said = translate_opening(error, self.name, None)
            return said if isinstance(said, LayerUnusable) else None
        finally:
            if listener is not None:
                listener.close()
        return None

    def _probe(self) -> None:
        connection = self._make_sync()
        self.aim(connection, None)
        try:
            connection.connect()
            connection.send_command("PING")
            connection.read_response()
        except DRIVER_ERRORS as error:
            raise translate_opening(error, self.name, None) from error
        finally:
            connection.disconnect()


def _unknown_option(error: Exception, address: ServerAddress) -> str:
    """Advice on an option that the kind of connection does not take; empty for another error.

    One in the query of a URL is not named: it may be the rest of a password that has an ``&``.
    """
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    name = found[1] if found else ""
    if name not in address.options:
        return ""
    if name.startswith("ssl_") and not address.url.startswith("rediss:"):
        return f"the option {name!r} is for TLS, so the address has to begin with rediss://"
    return f"redis-py has no option {name!r} for such a connection"


def _maker(pool: Any) -> Callable[[], Any]:
    """Return a factory that makes connections as a pool would.

    No partial: its repr, which error reports show, has the password.
    """
    return lambda: pool.connection_class(**pool.connection_kwargs)


def check_server(info: Any, loaded: Sequence[Any], where: str, *, in_cluster: bool = False) -> None:
    """Refuse a server that this layer cannot work with, going by its answers on a new connection.

    Args:
        info: to ``INFO server``; a server that does not give it to us is taken as it is.
        loaded: to ``SCRIPT LOAD``.
        where: the server's name.
        in_cluster: whether it may be in cluster mode.

    Raises:
        LayerUnavailable, LayerUnusable: nothing was stored or taken.
    """
    if isinstance(info, bytes):
        found = re.search(rb"^redis_version:(\d+)\.(\d+)(\S*)", info, re.MULTILINE)
        if found and (int(found[1]), int(found[2])) < OLDEST_REDIS:
            version = f"{int(found[1])}.{int(found[2])}{found[3].decode()}"
            raise LayerUnusable(
                where,
                f"Redis at {where} is version {version}; Redis 7.0 or later is needed, or Valkey. Upgrade the server.",
                uncertain=False,
            )
        mode = re.search(rb"^(?:redis|server)_mode:(cluster|sentinel)", info, re.MULTILINE)
        if mode and not (in_cluster and mode[1] == b"cluster"):
            what = IN_CLUSTER if mode[1] == b"cluster" else IS_SENTINEL
            raise LayerUnusable(where, f"Redis at {where} {what}", uncertain=False)
    for reply in loaded:
        if isinstance(reply, Exception):
            raise translate(reply, where, uncertain=False) from reply
