"""Redis for threads: one connection per thread and server."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from . import scripts
from .errors import DRIVER_ERRORS, translate
from .hosts import BLOCK_SECONDS, OPERATION_SECONDS, Host, check_version
from .scripts import Call, plain


class SyncConnection:
    """A connection that runs one pipeline at a time, whose answers may be read later."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.client_id: int | None = None
        self._connection = host.connect_sync()
        self._pending: Sequence[Call] | None = None
        self._deadline = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a pipeline was written and its answers were not read."""
        return self._pending is not None

    def connect(self) -> None:
        """Connect if needed, check the server's version and give it the scripts."""
        if self.client_id is not None:
            return
        self._connection.connect()
        commands: list[tuple[Any, ...]] = [("CLIENT", "ID"), ("INFO", "server")]
        commands += [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        self._write(commands)
        client_id, info, *_ = self._read(len(commands))
        check_version(info, self.host.name)
        self.client_id = client_id if isinstance(client_id, int) else 0

    def start(self, calls: Sequence[Call]) -> None:
        """Write a pipeline; `finish` reads its answers."""
        self._pending = calls
        self._deadline = time.monotonic() + BLOCK_SECONDS + OPERATION_SECONDS
        self._write([call.command() for call in calls])

    def finish(self) -> list[Any]:
        """Read the answers. A script the server forgot ran not at all, so it is sent in full."""
        calls = self._pending or ()
        replies = self._read(len(calls))
        self._pending = None
        for index, reply in enumerate(replies):
            if isinstance(reply, redis.exceptions.NoScriptError):
                self._write([calls[index].command_with_text()])
                (replies[index],) = self._read(1)
        return replies

    def check_overdue(self) -> None:
        """Raise if the server should have answered long ago."""
        if time.monotonic() > self._deadline:
            raise redis.TimeoutError("no answer to a blocking pop")

    def fileno(self) -> int:
        """The socket's descriptor, for `select`."""
        return int(self._connection._sock.fileno())

    def has_answer(self) -> bool:
        """Whether `finish` would find something to read at once."""
        return bool(self._connection.can_read(0))

    def close(self) -> None:
        """Close the socket; the next `connect` opens a new one."""
        self._pending = None
        self.client_id = None
        self._connection.disconnect()

    def _write(self, commands: list[tuple[Any, ...]]) -> None:
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)

    def _read(self, count: int) -> list[Any]:
        replies: list[Any] = []
        for _ in range(count):
            try:
                replies.append(self._connection.read_response(disable_decoding=True))
            except redis.ResponseError as error:
                replies.append(error)
        return replies


class SyncDriver:
    """Runs calls on servers, from any thread."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: set[SyncConnection] = set()
        self._blocked: set[SyncConnection] = set()

    def run(self, shard: int, calls: Sequence[Call]) -> list[Any]:
        """Run calls in one pipeline and return the replies; errors of single calls are among them.

        Raises:
            LayerUnavailable, LayerConfigurationError
        """
        with self.connection(shard) as connection:
            connection.start(calls)
            return connection.finish()

    def run_blocking(self, shard: int, calls: Sequence[Call]) -> list[Any]:
        """The same for calls that wait in Redis, so that `unblock` reaches them."""
        with self.connection(shard) as connection:
            self._blocked.add(connection)
            try:
                connection.start(calls)
                return connection.finish()
            finally:
                self._blocked.discard(connection)

    def start_blocking(self, shard: int, purpose: object, calls: Sequence[Call]) -> SyncConnection:
        """Begin calls that wait in Redis on a connection of their own, unless some wait there already."""
        with self.connection(shard, purpose) as connection:
            if connection.waiting:
                connection.check_overdue()
            else:
                connection.start(calls)
                self._blocked.add(connection)
            return connection

    def finish_blocking(self, shard: int, purpose: object) -> list[Any]:
        """Read the answers of `start_blocking`, waiting for them."""
        with self.connection(shard, purpose) as connection:
            self._blocked.discard(connection)
            return connection.finish()

    @staticmethod
    def wait(connections: Collection[SyncConnection], seconds: float) -> list[SyncConnection]:
        """Those of the connections that have answers, after waiting for the first."""
        ready = [connection for connection in connections if connection.has_answer()]
        if ready:
            return ready
        poller = select.poll()
        by_descriptor = {connection.fileno(): connection for connection in connections}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.POLLIN)
        return [by_descriptor[descriptor] for descriptor, _ in poller.poll(max(0.0, seconds) * 1000)]

    def unblock(self) -> None:
        """Have every call that waits in Redis return now, with what it has."""
        for connection in list(self._blocked):
            if connection.client_id:
                shard = self.hosts.index(connection.host)
                self.run(shard, [plain("CLIENT", "UNBLOCK", connection.client_id, "ERROR")])

    @contextmanager
    def connection(self, shard: int, purpose: object = None) -> Iterator[SyncConnection]:
        """This thread's connection to a server, connected. After an error it is closed."""
        connection = self._mine(shard, purpose)
        uncertain = False
        try:
            connection.connect()
            uncertain = True
            yield connection
        except DRIVER_ERRORS as error:
            connection.close()
            raise translate(error, connection.host.name, uncertain) from error
        except BaseException:
            # Interrupted between question and answer: the next answer would be taken for another's.
            connection.close()
            raise

    def close(self) -> None:
        """Close all connections of all threads."""
        with self._lock:
            connections, self._all = self._all, set()
            self._local = threading.local()
        for connection in connections:
            connection.close()

    def _mine(self, shard: int, purpose: object) -> SyncConnection:
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            local.pid, local.connections = os.getpid(), {}
        connection = local.connections.get((shard, purpose))
        if connection is None:
            connection = local.connections[shard, purpose] = SyncConnection(self.hosts[shard])
            with self._lock:
                self._all.add(connection)
        return connection  # type: ignore[no-any-return]
