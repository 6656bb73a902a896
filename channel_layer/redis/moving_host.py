"""A server that may be another one the next time: somebody has to be asked where it is.

Every new connection asks. A connection to a server that is not the one any more is never used: a thread asks every
second while there are connections, and cuts those that lead elsewhere. A server that was frozen or cut off may not know
yet that another has taken its place.

Replication is not synchronous: what was taken from the old server last may still lie on the new one. So the first
connection to a new one draws a line in time, and what was stored before is not delivered; see ``fence.lua``.
"""

from __future__ import annotations

import logging
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import redis

from ..exceptions import LayerUnavailable, LayerUnusable, clause
from ..forks import forget_in_children
from .errors import translate
from .hosts import Connected, Host
from .redis_py import AnyConnection, RedisPyConnection
from .scripts import FENCE, Call, Reply, Word

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
"""Time between two questions while there are connections."""

ASK_SECONDS = 1.0
"""Longest wait for somebody who is asked, to connect and to answer."""

REMEMBER_SECONDS = 30.0
"""Time for which the last word counts of those who do not answer any more."""

Address: TypeAlias = tuple[str, int]
"""Host and port."""

Kept: TypeAlias = dict[Any, RedisPyConnection]
"""Connections that are kept from one question to the next, by whom they lead to."""


def options_for_asking(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments of redis-py for connections to those who are asked."""
    return {"socket_timeout": ASK_SECONDS, "socket_connect_timeout": ASK_SECONDS, **(options or {})}


def answers_to(
    questions: Sequence[tuple[str, ...]], connect: Callable[[], RedisPyConnection], kept: Kept | None, key: Any
) -> list[Reply]:
    """Ask on the connection that is kept under a key, or on a new one, and return the answers, errors among them.

    Args:
        connect: makes a connection.
        kept: where to keep it; ``None`` to close it.

    Raises:
        redis.RedisError, OSError: it cannot be used, and is not kept.
    """
    connection = (kept or {}).pop(key, None) or connect()
    answers: list[Reply] = []
    try:
        connection.connect()
        for words in questions:
            connection.send_command(*words)
        for _ in questions:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
    except BaseException:
        connection.disconnect()
        raise
    if kept is None:
        connection.disconnect()
    else:
        kept[key] = connection
    return answers


class Guide(Protocol):
    """Somebody who knows where a server is."""

    @property
    def primary(self) -> Address | None:
        """The server, going by what was said until now."""

    def ask(self, connections: Kept | None = None) -> Address:
        """Ask, and return the server.

        Args:
            connections: kept from one call to the next; without it each is closed.

        Raises:
            LayerUnavailable, LayerUnusable: nobody says.
        """

    async def aask(self) -> Address:
        """Async form of `ask`."""

    def turn(self) -> None:
        """Begin with somebody else the next time."""

    def forget(self) -> None:
        """Begin anew, as in a process that was forked from another."""


class Watch:
    """A thread that asks the guide of some hosts every second, for as long as one of them has connections.

    Args:
        guide: whom to ask. All hosts hear of what it says.
        name: of the thread.
    """

    def __init__(self, guide: Guide, name: str) -> None:
        self._guide = guide
        self._name = name
        self._hosts: WeakSet[MovingHost] = WeakSet()
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Let go of the thread: it stayed behind in the process that this one was forked from."""
        self._guide.forget()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def attend(self, host: MovingHost) -> None:
        """Look after a host, which has a connection."""
        with self._lock:
            self._hosts.add(host)
            if self._watcher is None:
                self._closed.clear()
                self._watcher = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._watcher.start()

    def close(self) -> None:
        """Look after nobody any more, until a host has connections again."""
        with self._lock:
            self._watcher = None
            self._closed.set()
            self._closed = threading.Event()

    def _run(self) -> None:
        connections: Kept = {}
        complained = False
        while not self._closed.wait(WATCH_SECONDS) and self._is_used():
            # Another one each time, since one that was held up may not have heard of a failover.
            self._guide.turn()
            try:
                self._guide.ask(connections)
            except LayerUnavailable as error:
                if not complained:
                    logger.warning("%s; a failover would not be noticed", clause(error))
                complained = True
            else:
                complained = False
            for host in list(self._hosts):
                host.settle()
        for connection in connections.values():
            connection.disconnect()

    def _is_used(self) -> bool:
        with self._lock:
            if not any(host.has_connections for host in self._hosts):
                self._watcher = None
            return self._watcher is not None


class MovingHost(Host):
    """One of the servers that a guide knows.

    Args:
        guide: knows where it is.
        watch: notices when it is elsewhere; it may serve several hosts.
        spec, connection_kwargs, label, is_one_of_several: see `Host`. The place is set anew with each connection.
        name: what logs call it.
        fence_key: of the layer; see ``fence.lua``.

    Attributes:
        on_new_primary: called after a connection was opened to another server than the ones before it, in the thread
            that did so.
    """

    sections: ClassVar[tuple[str, ...]] = ("server", "replication")
    guides: ClassVar[str]
    """Name of the guide, for a sentence."""

    def __init__(
        self,
        guide: Guide,
        watch: Watch,
        spec: Any,
        connection_kwargs: Mapping[str, Any] | None,
        label: str,
        name: str,
        fence_key: str,
        is_one_of_several: bool = False,
    ) -> None:
        super().__init__(spec, connection_kwargs, label, is_one_of_several=is_one_of_several)
        self.name = self.outage.where = name
        self.on_new_primary: Callable[[], None] | None = None
        self._guide = guide
        self._watch = watch
        self._fence_key = fence_key
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Let go of the connections: they stayed behind in the process that this one was forked from."""
        self._lock = threading.Lock()
        self._users: WeakKeyDictionary[Connected, Address] = WeakKeyDictionary()
        self._primary: Address | None = None
        self._server = ""

    @abstractmethod
    def check_role(self, info: Any, loaded: Sequence[Any]) -> None:
        """Refuse a server by its answers as `admit` does, and one that is not the primary."""

    @abstractmethod
    def place(self) -> list[Word]:
        """Arguments of ``fence.lua`` about the place of the server among others."""

    # -- opening a connection --------------------------------------------------------------------

    def aim(self, connection: AnyConnection, user: Connected | None) -> None:
        """See `Host.aim`."""
        self._point(connection, user, self._guide.ask())

    async def aaim(self, connection: AnyConnection, user: Connected | None) -> None:
        """See `Host.aaim`."""
        self._point(connection, user, await self._guide.aask())

    def admit(self, user: Connected, info: Any, loaded: Sequence[Any]) -> list[tuple[Word, ...]]:
        """See `Host.admit`; refuses what is not the primary."""
        if isinstance(info, Exception):
            raise LayerUnusable(
                self.name,
                f"Redis at {self.name} does not let our user run INFO ({clause(info)}), which says if it is the "
                "primary. Allow its user +info.",
                uncertain=False,
            )
        self.check_role(info, loaded)
        self.settle()
        with self._lock:
            if user not in self._users:
                raise LayerUnavailable(self.name, f"{self.guides} names another server by now", uncertain=False)
        found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE)
        server = found[1].decode() if found else ""
        with self._lock:
            before, self._server = self._server, server
        if before and before != server:
            self.has_changed()
        return [Call(FENCE, [self._fence_key], [server, *self.place()]).command_with_text()]

    def has_changed(self) -> None:
        """A connection leads to another server than the ones before it."""
        if self.on_new_primary is not None:
            self.on_new_primary()

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
        self._watch.attend(self)
        self.settle()

    # -- while there are connections -------------------------------------------------------------

    @property
    def has_connections(self) -> bool:
        """True if somebody may be using one."""
        with self._lock:
            return bool(self._users)

    def settle(self) -> None:
        """Cut the connections that do not lead to the primary."""
        primary = self._guide.primary
        if primary is None:
            return
        with self._lock:
            before, self._primary = self._primary, primary
            stale = [(user, address) for user, address in self._users.items() if address != primary]
            for user, _ in stale:
                del self._users[user]
        if before is not None and before != primary:
            self.tell_of_move(before, primary)
        for user, address in stale:
            if self.is_replaced(address, primary):
                user.cut()

    def is_replaced(self, before: Address, primary: Address) -> bool:
        """True unless the server before is known to say itself that it is not the one any more, to whoever asks."""
        return True

    @abstractmethod
    def tell_of_move(self, before: Address, primary: Address) -> None:
        """Log that the server is elsewhere."""

    def close(self) -> None:
        """See `Host.close`."""
        super().close()
        self._watch.close()
