"""A server that Sentinels choose: one of several, and another one after a failover.

Every new connection asks the Sentinels where the primary is. A connection to another server is never used: a server
that says it is a replica is refused, and a thread asks a Sentinel every second while there are connections, and cuts
those that lead to an old primary. One that was frozen or cut off may not know yet that it is not the primary any more.

Replication is not synchronous: what was taken from the old primary last may still lie on the new one. So the first
connection to a new primary draws a line in time, and what was stored before is not delivered; see ``fence.lua``.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from ..exceptions import LayerUnavailable, LayerUnusable, clause
from ..forks import forget_in_children
from .errors import translate
from .hosts import Connected, Host, check_server
from .redis_py import AnyConnection, RedisPyConnection
from .scripts import FENCE, Call, Reply, Word
from .sentinels import Address, Sentinels

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Time between two questions to Sentinels while there are connections."""


class SentinelHost(Host):
    """The primary of a service.

    Args:
        sentinels: know where it is.
        options: redis-py's arguments for connections to it; with ``ssl`` for TLS.
        label: what complaints call it.
        fence_key: of the layer; see ``fence.lua``.
        is_one_of_several: see `Host`.

    Attributes:
        on_new_primary: called after a connection was opened to another server than the ones before it, in the thread
            that did so.
    """

    sections: ClassVar[tuple[str, ...]] = ("server", "replication")

    def __init__(
        self,
        sentinels: Sentinels,
        options: Mapping[str, Any],
        label: str,
        fence_key: str,
        is_one_of_several: bool = False,
    ) -> None:
        options = dict(options)
        scheme = "rediss" if options.pop("ssl", False) else "redis"
        database = options.pop("db", 0)
        # The place is set anew with each connection.
        super().__init__(
            {"address": f"{scheme}://localhost/{database}", **options}, None, label, is_one_of_several=is_one_of_several
        )
        self.name = self.outage.where = f"{scheme}+sentinel://{sentinels.service}/{database}"
        self.is_local = all(host.is_local for host in sentinels.hosts)
        self.sentinels = sentinels
        self.on_new_primary: Callable[[], None] | None = None
        self._fence_key = fence_key
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Let go of the thread and of the connections: they stayed behind in the process this one was forked from."""
        self.sentinels.forget()
        self._lock = threading.Lock()
        self._users: WeakKeyDictionary[Connected, Address] = WeakKeyDictionary()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._primary: Address | None = None
        self._server = ""

    # -- opening a connection --------------------------------------------------------------------

    def aim(self, connection: AnyConnection, user: Connected | None) -> None:
        """See `Host.aim`."""
        self._point(connection, user, self.sentinels.ask())

    async def aaim(self, connection: AnyConnection, user: Connected | None) -> None:
        """See `Host.aaim`."""
        self._point(connection, user, await self.sentinels.aask())

    def admit(self, user: Connected, info: Any, loaded: Sequence[Any]) -> list[tuple[Word, ...]]:
        """See `Host.admit`; refuses what is not the primary."""
        if isinstance(info, Exception):
            raise LayerUnusable(
                self.name,
                f"Redis at {self.name} does not let our user run INFO ({clause(info)}), which says if it is the "
                "primary. Allow its user +info.",
                uncertain=False,
            )
        check_server(info, loaded, self.name)
        if not re.search(rb"^role:master", info, re.MULTILINE):
            raise LayerUnavailable(self.name, "the server that Sentinel names is a replica", uncertain=False)
        self._settle()
        with self._lock:
            if user not in self._users:
                raise LayerUnavailable(self.name, "Sentinel names another server by now", uncertain=False)
        found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE)
        server = found[1].decode() if found else ""
        with self._lock:
            before, self._server = self._server, server
        if before and before != server:
            logger.warning(
                "Redis at %s is another server than before, or was started again: messages that lay on it count as "
                "lost, since some may have been delivered already",
                self.name,
            )
            if self.on_new_primary is not None:
                self.on_new_primary()
        return [Call(FENCE, [self._fence_key], [server]).command_with_text()]

    def learn(self, replies: Sequence[Reply]) -> None:
        """See `Host.learn`."""
        [fence] = replies
        if isinstance(fence, Exception):
            raise translate(fence, self.name, uncertain=False)
        self.fence = float(fence)

    def _point(self, connection: AnyConnection, user: Connected | None, primary: Address) -> None:
        connection.host, connection.port = primary
        if user is None:
            return
        with self._lock:
            self._users[user] = primary
            if self._watcher is None:
                self._closed.clear()
                self._watcher = threading.Thread(target=self._watch, name="redis-sentinel", daemon=True)
                self._watcher.start()
        self._settle()

    # -- watching --------------------------------------------------------------------------------

    def _watch(self) -> None:
        connections: dict[int, RedisPyConnection] = {}
        complained = False
        while not self._closed.wait(WATCH_SECONDS) and self._is_used():
            # Another one each time, since one that was held up may not have heard of a failover.
            self.sentinels.turn()
            try:
                self.sentinels.ask(connections)
            except LayerUnavailable as error:
                if not complained:
                    logger.warning("%s; a failover would not be noticed", clause(error))
                complained = True
            else:
                complained = False
            self._settle()
        for connection in connections.values():
            connection.disconnect()

    def _is_used(self) -> bool:
        with self._lock:
            if not self._users:
                self._watcher = None
            return self._watcher is not None

    def _settle(self) -> None:
        """Cut the connections that do not lead to the primary."""
        primary = self.sentinels.primary
        if primary is None:
            return
        with self._lock:
            before, self._primary = self._primary, primary
            stale = [user for user, address in self._users.items() if address != primary]
            for user in stale:
                del self._users[user]
        if before is not None and before != primary:
            logger.warning("Redis at %s is now %s:%d, after a failover from %s:%d", self.name, *primary, *before)
        for user in stale:
            user.cut()

    def close(self) -> None:
        """See `Host.close`."""
        super().close()
        with self._lock:
            self._watcher = None
            self._closed.set()
            self._closed = threading.Event()
