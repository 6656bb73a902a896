"""Redis for threads: one connection per thread and server."""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis

from ..exceptions import LayerUnavailable
from ..forks import forget_in_children
from . import redirections, scripts
from .errors import DRIVER_ERRORS, has_stepped_down, is_cut_off, translate, translate_opening
from .hosts import BLOCK_SECONDS, OPERATION_SECONDS, Host
from .redis_py import shut, socket_of
from .scripts import Call, Reply, Word, plain
from .wire import ReplyReader, pack

logger = logging.getLogger(__name__)

MOST_PIECES = 512
"""Pieces for one system call, of which Linux takes 1,024."""

CAN_SLEEP_LONGER = sys.platform == "linux"
"""True where waiting on a socket heeds ``SO_RCVLOWAT``."""

ANSWER_SECONDS = BLOCK_SECONDS + OPERATION_SECONDS

IDLE_SECONDS = 0.001
"""Time since the last pipeline was written, after which a connection is looked at before the next."""

LEAST_NEWS = 6
"""Bytes of the shortest error, ``-ERR`` with the end of its line: a server says nothing else without being asked."""

T = TypeVar("T")


class SyncConnection:
    """A connection that runs one pipeline at a time, whose answers may be read later."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.client_id: int | None = None
        self._connection = host.connect_sync()
        self._socket: Any = None
        self._readable = select.poll()
        self._answers = ReplyReader()
        self._pending: Sequence[Call] | None = None
        self._wakes_at = 1
        self.deadline = 0.0
        """Deadline for the answers to a blocking pop, by `time.monotonic`."""

    def prepare(self) -> None:
        """See to it that a pipeline can be written: open a connection unless there is one that the server keeps.

        Raises:
            LayerUnavailable, LayerUnusable: there is none; nothing was written.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        if self.client_id is not None:
            if deadline - self.deadline > IDLE_SECONDS and self._is_spoilt():
                self.close()
            else:
                self.deadline = deadline
                return
        handled = sys.exception()
        try:
            self._open()
        except DRIVER_ERRORS as error:
            self.close()
            refusal = self.host.listen_for_refusal() if self.host.uses_tls and is_cut_off(error) else None
            raise refusal or translate_opening(error, self.host.name, handled) from error
        except BaseException:
            self.close()
            raise
        self.deadline = time.monotonic() + ANSWER_SECONDS

    def _open(self) -> None:
        """Connect, check that the server will do, and give it the scripts."""
        self.host.aim(self._connection, self)
        self._connection.connect()
        self._socket = socket_of(self._connection)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._answers = ReplyReader()
        self._wakes_at = 1
        commands: list[tuple[Word, ...]] = [("CLIENT", "ID"), ("INFO", *self.host.sections)]
        commands += [("SCRIPT", "LOAD", script.text) for script in scripts.ALL]
        self._write(commands)
        client_id, info, *loaded = self._read(len(commands))
        if questions := self.host.admit(self, info, loaded):
            self._write(questions)
            self.host.learn(self._read(len(questions)))
        self.client_id = client_id if isinstance(client_id, int) else 0

    def _is_spoilt(self) -> bool:
        """Detect an idle connection that the server has closed, or on which it has said what nobody asked for."""
        # The end of a connection is noticed in any case. Setting the option costs more than the look,
        # and `start` would set it anew.
        if self._wakes_at > LEAST_NEWS:
            self._wake_at(1)
        return self.has_answer()

    def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Write a pipeline and read its answers."""
        self.start(calls)
        return self.finish()

    def start(self, calls: Sequence[Call], first: Sequence[Call] = ()) -> None:
        """Write a pipeline; `finish` reads its answers.

        Args:
            first: calls to put in front, whose answers `finish_first` reads.
        """
        # Their shortest answers say that all is well, and one byte more belongs to what is waited for.
        self._wake_at(1 + sum(call.script.shortest if call.script else 0 for call in first))
        self._pending = calls
        self._write([call.command() for call in (*first, *calls)])

    def finish_first(self, count: int) -> list[Reply]:
        """Read the answers to what was put in front, as they are. If all is well it may wait for the others."""
        return self._read(count, more_follow=True)

    def finish(self) -> list[Reply]:
        """Read the answers. A script the server forgot ran not at all, so it is sent in full."""
        calls = self._pending or ()
        replies = self._read(len(calls))
        self._pending = None
        spoilt = False
        for index, reply in enumerate(replies):
            if isinstance(reply, redis.ResponseError):
                if isinstance(reply, redis.exceptions.NoScriptError):
                    self._write([calls[index].command_with_text()])
                    (replies[index],) = self._read(1)
                elif has_stepped_down(reply):
                    spoilt = True
        if self.host.redirects:
            self._follow(calls, replies)
        if spoilt:
            self.close()
        return replies

    def _follow(self, calls: Sequence[Call], replies: list[Reply]) -> None:
        """Make the calls again that a node of a cluster did not make, see `channel_layer.redis.redirections`."""
        give_up = time.monotonic() + redirections.LONGEST
        while (places := redirections.redirected(calls, replies)) and time.monotonic() < give_up:
            address = redirections.new_place(replies)
            if address is None:
                time.sleep(redirections.PAUSE)
            else:
                self.host.moved(address)
                self.close()
                try:
                    self.prepare()
                except LayerUnavailable as error:
                    logger.debug("%s", error)
                    return  # those calls were refused, and others of the pipeline may have been made
            again = [calls[place] for place in places]
            self._write([call.command() for call in again])
            for place, call, reply in zip(places, again, self._read(len(again)), strict=True):
                if isinstance(reply, redis.exceptions.NoScriptError):
                    self._write([call.command_with_text()])
                    (reply,) = self._read(1)
                replies[place] = reply

    def fileno(self) -> int:
        """The socket's descriptor, for `select`; negative once it is closed."""
        return int(self._socket.fileno())

    def has_answer(self) -> bool:
        """True if `finish` would return or raise at once."""
        if self.client_id is None or self._readable.poll(0):
            return True
        # What TLS has deciphered already.
        return type(self._socket) is not socket.socket and self._socket.pending() > 0

    @property
    def is_overdue(self) -> bool:
        """True if the answers should have come by now."""
        return time.monotonic() > self.deadline

    def cut(self) -> None:
        """See `channel_layer.redis.hosts.Connected.cut`."""
        shut(self._connection)

    def close(self) -> None:
        """Close the socket; the next `prepare` opens a new one."""
        self._pending = None
        self.client_id = None
        self._connection.disconnect()

    def _write(self, commands: Sequence[tuple[Word, ...]]) -> None:
        pieces = pack(commands)
        if len(pieces) == 1:
            self._write_whole(pieces[0])
        elif type(self._socket) is socket.socket:
            self._write_pieces(pieces)
        else:  # TLS writes one at a time
            self._socket.sendall(b"".join(pieces))

    def _write_whole(self, data: bytes) -> None:
        if type(self._socket) is socket.socket:
            # A socket with a timeout waits until it may send, which takes a system call, before it tries.
            try:
                data = data[os.write(self._socket.fileno(), data) :]
            except BlockingIOError:
                pass
        if data:
            self._socket.sendall(data)

    def _write_pieces(self, pieces: Sequence[bytes]) -> None:
        """Write large pieces without joining them."""
        for start in range(0, len(pieces), MOST_PIECES):
            some = pieces[start : start + MOST_PIECES]
            written = self._socket.sendmsg(some)
            for piece in some:
                if written < len(piece):
                    self._socket.sendall(memoryview(piece)[written:])
                written = max(0, written - len(piece))

    def _read(self, count: int, *, more_follow: bool = False) -> list[Reply]:
        answers = self._answers
        answers.expect(count, more_follow=more_follow)
        # Only the answers to a second pipeline may have been read already, together with those to the first.
        replies = None if more_follow else answers.take()
        while replies is None:
            if not more_follow:
                self._wake_at(1)
            received = self._socket.recv_into(answers.room())
            if not received:
                raise redis.ConnectionError("Connection closed by server.")
            replies = answers.filled(received)
        return replies

    def _wake_at(self, count: int) -> None:
        """Sleep until so many bytes have come. Being woken for less costs more than all the rest of an idle send."""
        # TLS adds bytes of its own.
        if count != self._wakes_at and CAN_SLEEP_LONGER and type(self._socket) is socket.socket:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._wakes_at = count


class _Held(dict[int, SyncConnection]):
    """The connections of one thread, by server; closed when it ends."""

    def __del__(self) -> None:
        for connection in self.values():
            connection.close()


class SyncDriver:
    """Runs calls on servers, from any thread."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.hosts = hosts
        self.forget()
        forget_in_children(self)

    def forget(self) -> None:
        """Let go of all connections: they are those of the process that this one was forked from."""
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[SyncConnection] = weakref.WeakSet()
        self._idle: list[list[SyncConnection]] = [[] for _ in self.hosts]
        self._blocked: set[SyncConnection] = set()

    def run(self, shard: int, calls: Sequence[Call]) -> list[Reply]:
        """Run calls in one pipeline and return the replies; errors of single calls are among them.

        Raises:
            LayerUnavailable, LayerUnusable
        """
        return self._begin(self._mine(shard), SyncConnection.run, calls)

    def run_blocking(self, shard: int, calls: Sequence[Call]) -> list[Reply]:
        """The same for calls that wait in Redis, so that `unblock` reaches them."""
        connection = self._mine(shard)
        self._blocked.add(connection)
        try:
            return self._begin(connection, SyncConnection.run, calls)
        finally:
            self._blocked.discard(connection)

    def start(self, shard: int, calls: Sequence[Call]) -> SyncConnection:
        """Begin calls that wait in Redis, on an idle or new connection that is the caller's until `finish`."""
        with self._lock:
            connection = self._idle[shard].pop() if self._idle[shard] else SyncConnection(self.hosts[shard])
            self._all.add(connection)
        self._begin(connection, SyncConnection.start, calls)
        self._blocked.add(connection)
        return connection

    def finish(self, connection: SyncConnection) -> list[Reply]:
        """Read the answers to `start`, waiting for them; any thread may."""
        self._blocked.discard(connection)
        replies = self._guarded(connection, SyncConnection.finish)
        with self._lock:
            self._idle[self.hosts.index(connection.host)].append(connection)
        return replies

    def begin_behind(self, shard: int, first: Sequence[Call], calls: Sequence[Call]) -> SyncConnection:
        """Write two pipelines in one, the second of which waits in Redis. `first_replies` and `last_replies`
        read the answers, in this order and in this thread, before it does anything else with the server.
        """
        connection = self._mine(shard)
        self._blocked.add(connection)
        try:
            self._begin(connection, SyncConnection.start, calls, first)
        except BaseException:
            self._blocked.discard(connection)
            raise
        return connection

    def first_replies(self, connection: SyncConnection, first: Sequence[Call]) -> list[Reply]:
        """The answers to the first pipeline; see `SyncConnection.finish_first`."""
        try:
            replies = self._guarded(connection, SyncConnection.finish_first, len(first))
        except BaseException:
            self._blocked.discard(connection)
            raise
        for index, reply in enumerate(replies):
            if isinstance(reply, redis.exceptions.NoScriptError):
                # This connection waits already: what comes behind would be run after that.
                (replies[index],) = self.finish(self.start(self.hosts.index(connection.host), [first[index]]))
        return replies

    def last_replies(self, connection: SyncConnection) -> list[Reply]:
        """The answers to the second."""
        try:
            return self._guarded(connection, SyncConnection.finish)
        finally:
            self._blocked.discard(connection)

    def abandon(self, connection: SyncConnection) -> None:
        """Close a connection whose answers nobody will read."""
        self._blocked.discard(connection)
        connection.close()

    def unblock(self) -> None:
        """Have every call that waits in Redis return now, with what it has; on a server that is away nobody waits."""
        for connection in list(self._blocked):
            if connection.client_id:
                shard = self.hosts.index(connection.host)
                try:
                    self.run(shard, [plain("CLIENT", "UNBLOCK", connection.client_id, "ERROR")])
                except LayerUnavailable as error:
                    logger.debug("nobody to interrupt: %s", error)

    def _begin(self, connection: SyncConnection, work: Callable[..., T], *args: object) -> T:
        """Do something that begins with writing, on a connection that is opened for it if need be."""
        outage = connection.host.outage
        if outage.is_down:
            outage.check()
        try:
            connection.prepare()
        except LayerUnavailable as error:
            outage.note(error, uncertain=False)
            raise
        return self._guarded(connection, work, *args)

    def _guarded(self, connection: SyncConnection, work: Callable[..., T], *args: object) -> T:
        """Do something with an open connection. After an error it is closed.

        A function and no context manager, which would be a seventh of the price of a call.
        """
        try:
            if connection.client_id is None:
                raise redis.ConnectionError("the connection was closed before the answer came")
            return work(connection, *args)
        except DRIVER_ERRORS as error:
            connection.close()
            connection.host.outage.note(error, uncertain=True)
            raise translate(error, connection.host.name) from error
        except BaseException:
            # Interrupted between question and answer: the next answer would be taken for another's.
            connection.close()
            raise

    def close(self) -> None:
        """Close all connections of all threads."""
        with self._lock:
            connections, self._all = list(self._all), weakref.WeakSet()
            self._idle = [[] for _ in self.hosts]
            self._local = threading.local()
        for connection in connections:
            connection.close()

    def _mine(self, shard: int) -> SyncConnection:
        try:
            connection: SyncConnection = self._local.held[shard]
        except AttributeError:
            self._local.held = _Held()
        except KeyError:
            pass
        else:
            return connection
        connection = self._local.held[shard] = SyncConnection(self.hosts[shard])
        with self._lock:
            self._all.add(connection)
        return connection
