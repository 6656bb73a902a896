"""Waking those who wait: one thread per process listens to the notifications of the database."""

from __future__ import annotations

import hashlib
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

import psycopg

from ..exceptions import ChannelLayerError, clause
from .connections import Statement
from .drivers import Driver, Server
from .pooling import notified

RETRY_SECONDS = 0.5
"""Pause before the thread connects again."""

LINGER = 1.0
"""Seconds for which the thread stays when nobody waits any more."""

MOST_BELLS = 1000
"""Names that the thread listens to before it forgets those that nobody waits for."""

_log = logging.getLogger("channel_layer.postgres")


def bell(schema: str, reader: str) -> str:
    """The name that a channel's notifications have; `schema.sql` has the same function."""
    return _bell(schema, reader.partition("?")[0])


@lru_cache(maxsize=4096)
def _bell(schema: str, family: str) -> str:
    return f"{schema}_{hashlib.md5(family.encode(), usedforsecurity=False).hexdigest()[:20]}"


class Listener:
    """Thread that calls back who waits for channels when something may lie on one of them.

    The thread lives while somebody waits, and has a connection of its own.

    Args:
        server: the database.
        every_look: called at least that often, for what has to happen while everybody waits.
        seconds: longest time between two looks at a channel, should a notification get lost.
    """

    def __init__(self, server: Server, every_look: Callable[[], None], seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._every_look = every_look
        self._driver = Driver(server)
        self._lock = threading.Lock()
        self._waiters: dict[object, tuple[frozenset[str], Callable[[], None]]] = {}
        self._heard: set[str] = set()
        self._rung: dict[str, int] = {}
        self._looks, self._look_due = 0, 0.0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._nudge_out, self._nudge_in = os.pipe()
        os.set_blocking(self._nudge_in, False)
        os.set_blocking(self._nudge_out, False)

    def __del__(self) -> None:
        os.close(self._nudge_in)
        os.close(self._nudge_out)

    @contextmanager
    def waiting(self, channels: Sequence[str], wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called, from another thread and perhaps for nothing, while the block runs.

        Look at the channels after entering: what came before is not reported. While the thread begins to listen
        to a name, ``wake`` is called once more when it does.
        """
        key = object()
        with self._lock:
            self._waiters[key] = (frozenset(channels), wake)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="channel-layer-listen", daemon=True)
                self._thread.start()
        if not self._heard.issuperset([bell(self._server.schema.name, name) for name in channels]):
            self._nudge()
        try:
            yield
        finally:
            with self._lock:
                del self._waiters[key]

    def news(self, channels: Sequence[str]) -> object:
        """A value that changes when something may have come to one of the channels; ``None`` if nobody listens.

        Who has found them empty after asking for it need not look while it is the same.
        """
        rung, looks = self._rung, self._looks
        schema = self._server.schema.name
        if not self._heard.issuperset([bell(schema, name) for name in channels]):
            return None
        return looks, tuple([rung.get(name, 0) for name in channels])

    def wake_all(self) -> None:
        """Wake everybody, for nothing."""
        with self._lock:
            waiters = list(self._waiters.values())
        for _, wake in waiters:
            wake()

    def close(self) -> None:
        """Close the connection, if nobody waits."""
        with self._lock:
            if self._waiters or self._thread is None:
                return
            thread, self._closing = self._thread, True
        self._nudge()
        thread.join(LINGER)

    def forget(self) -> None:
        """Let go of what belongs to the process that this one was forked from."""
        self._driver.forget()

    def _nudge(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._nudge_in, b"x")

    def _run(self) -> None:
        try:
            self._listen()
        finally:
            with self._lock:
                # After an error that nobody foresaw, the next who waits starts another thread.
                if self._thread is threading.current_thread():
                    self._heard = set()
                    self._driver.close()
                    self._thread = None

    def _listen(self) -> None:
        failing = False
        last_waited = time.monotonic()
        self._look()  # nobody has heard what came before
        while True:
            with self._lock:
                if self._waiters:
                    last_waited = time.monotonic()
                elif self._closing or time.monotonic() - last_waited >= LINGER:
                    self._heard = set()
                    self._driver.close()
                    self._thread, self._closing = None, False
                    return
            try:
                self._every_look()
                self._hear_more()
                self._wait_and_wake()
                failing = False
            except (ChannelLayerError, psycopg.Error) as error:
                if not failing:
                    _log.warning("%s. Trying again.", clause(error))
                failing = True
                self._heard = set()
                self._driver.close()
                # Those who wait learn of it when they look for themselves.
                self._look()
                time.sleep(RETRY_SECONDS)

    def _hear_more(self) -> None:
        connection = self._driver.connection
        with self._lock:
            waiters = list(self._waiters.values())
        schema = self._server.schema.name
        wanted = {bell(schema, name): None for channels, _ in waiters for name in channels}
        if len(self._heard) > MOST_BELLS:
            connection.rows(Statement("UNLISTEN *"))
            self._heard = set()
        new = [name for name in wanted if name not in self._heard]
        if not new:
            return
        for name in new:
            connection.rows(Statement(f'LISTEN "{name}"'))
        self._heard = self._heard | set(new)
        self._wake({name for channels, _ in waiters for name in channels if bell(schema, name) in new})

    def _wait_and_wake(self) -> None:
        """Wait for notifications, or for a nudge; and have everybody look who has not for a while."""
        connection = self._driver.connection
        poll = select.poll()
        poll.register(connection.pgconn.socket, select.POLLIN)
        poll.register(self._nudge_out, select.POLLIN)
        if poll.poll(max(0.0, self._look_due - time.monotonic()) * 1000):
            with suppress(BlockingIOError):
                os.read(self._nudge_out, 4096)
            self._wake(notified(connection))
        else:
            self._look()

    def _look(self) -> None:
        """Have everybody look, as a notification may have been lost."""
        self._look_due = time.monotonic() + self._seconds
        self._rung = {}
        self._looks += 1
        self.wake_all()

    def _wake(self, channels: set[str]) -> None:
        if channels:
            for name in channels:
                self._rung[name] = self._rung.get(name, 0) + 1
            with self._lock:
                waiters = [wake for names, wake in self._waiters.values() if not channels.isdisjoint(names)]
            for wake in waiters:
                wake()
