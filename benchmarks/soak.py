"""Space that the postgres layer takes over time: ``python -m benchmarks.soak --minutes 60``.

Messages go through a schema made for it, on the database that ``BENCH_POSTGRES_DSN`` names: batches to a channel that
workers share, frames to a process, messages to a group that connections enter and leave, last wills that are left and
withdrawn. Each minute the worker stops for a while, so that the queue grows and is emptied again. Every message has to
arrive. The table has the sizes of the layer's tables and indexes, and of what is dead in them, from time to time.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import psycopg

from channel_layer.delivery import LastWill
from channel_layer.postgres import PostgresChannelLayer

from .figures import kibibytes, markdown

CHANNEL, GROUP, READER = "soak.work", "soak.group", "soak.process!"

TURNS = 10
"""Batches a second."""

CONNECTIONS = 200
"""Members of the group, the oldest of which leaves when another comes: one for each batch."""

CYCLE_SECONDS, AWAY_SECONDS = 60.0, 15.0
"""The worker stops once in a cycle, for so long."""

DRAIN_SECONDS = 60.0
"""Time for what is left when no more is sent."""

TABLES = ("frames", "members", "wills", "readers", "counts")

HEADS = ["minute", "messages", "waiting", *TABLES, "of which indexes", "dead rows"]

_SIZES = """
SELECT c.relname, pg_total_relation_size(c.oid), pg_indexes_size(c.oid), coalesce(s.n_dead_tup, 0)
FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = %s::regnamespace
"""


class Lost(Exception):
    """Messages did not arrive; the text says how many."""


class Soak:
    """Senders and receivers over one schema.

    Args:
        dsn: the database.
        rate: messages a second to the channel.

    Attributes:
        sent, received: messages so far.
    """

    def __init__(self, dsn: str, rate: int) -> None:
        self.sent = self.received = 0
        self.schema = f"soak_{secrets.token_hex(4)}"
        self._batch = max(1, rate // TURNS)
        self._sender, self._worker, self._process = (
            PostgresChannelLayer(dsn, schema=self.schema, capacity=1_000_000) for _ in range(3)
        )
        self._watcher = psycopg.connect(dsn, autocommit=True)
        self._members: deque[str] = deque()
        self._begun = time.monotonic()
        self._ending = threading.Event()
        self._counting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._receive, args=arguments, daemon=True)
            for arguments in ((self._worker, CHANNEL, True), (self._process, READER, False))
        ]

    def __enter__(self) -> Soak:
        self._sender.check()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._watcher.close()
        self._worker.close()
        self._process.close()
        self._sender.drop()

    def send(self, until: float) -> None:
        """Send until a time of the clock `time.monotonic`."""
        due = time.monotonic()
        while (now := time.monotonic()) < until:
            layer, number = self._sender, self.sent
            texts = [{"number": number + n, "text": "." * (100 + 37 * n % 900)} for n in range(self._batch)]
            items = [layer.prepare(CHANNEL, text) for text in texts]
            # What a web server does when a WebSocket comes, and when one has left.
            channel = layer.new_channel(READER)
            items[0].last_will = LastWill(channel, layer.prepare(CHANNEL, {"gone": channel}))
            self._members.append(channel)
            if len(self._members) > CONNECTIONS and len(items) > 1:
                gone = self._members.popleft()
                items[-1].last_will = LastWill(gone, None)
                layer.group_discard(GROUP, gone)
            layer.group_add(GROUP, channel)
            refused = layer.send_batch(items)
            layer.send(channel, {"text": "welcome"})
            layer.send_group(GROUP, {"text": "somebody has come"})
            self.sent += len(items) - len(refused) + 1
            due = max(due + 1 / TURNS, now)
            time.sleep(max(0.0, due - time.monotonic()))

    def drain(self) -> None:
        """Wait for what is on its way; raises `Lost`."""
        deadline = time.monotonic() + DRAIN_SECONDS + AWAY_SECONDS
        while self.received < self.sent:
            if time.monotonic() > deadline:
                raise Lost(f"{self.sent - self.received} of {self.sent} messages did not arrive")
            time.sleep(0.1)

    def line(self) -> list[str]:
        """A row of the table: what is there now."""
        rows = self._watcher.execute(_SIZES, (self.schema,)).fetchall()
        sizes: dict[str, int] = {name: size for name, size, _, _ in rows}
        minute = (time.monotonic() - self._begun) / 60
        counted = [f"{minute:.1f}", f"{self.sent:,}", f"{self.sent - self.received:,}"]
        spaces = [*(sizes[name] for name in TABLES), sum(indexes for _, _, indexes, _ in rows)]
        return [*counted, *map(kibibytes, spaces), f"{sum(dead for *_, dead in rows):,}"]

    def _receive(self, layer: PostgresChannelLayer, channel: str, rests: bool) -> None:
        while not self._ending.is_set():
            into = (time.monotonic() - self._begun) % CYCLE_SECONDS
            if rests and into > CYCLE_SECONDS - AWAY_SECONDS:
                self._ending.wait(0.1)
                continue
            found = layer.receive_batch([channel], limit=100, timeout=0.5)
            # A message to the group comes once for each member, and is none of those that are counted.
            count = sum(1 for item in found if item.message.get("text") != "somebody has come")
            with self._counting:
                self.received += count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Watch the postgres layer's space.")
    given: dict[str, tuple[Any, str]] = {
        "minutes": (60.0, "for how long"),
        "every": (60.0, "seconds between two rows"),
    }
    for name, (default, what) in given.items():
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{what} (default: %(default)g)")
    parser.add_argument("--rate", type=int, default=200, help="messages a second (default: %(default)s)")
    options = parser.parse_args(arguments)
    dsn = os.environ.get("BENCH_POSTGRES_DSN")
    if dsn is None:
        print("Set BENCH_POSTGRES_DSN to a PostgreSQL database for the tables of the layer.", file=sys.stderr)
        return 1
    table = [HEADS]
    with Soak(dsn, options.rate) as soak:
        end = time.monotonic() + options.minutes * 60
        try:
            while (now := time.monotonic()) < end:
                soak.send(min(now + options.every, end))
                table.append(soak.line())
                print(" | ".join(table[-1]), file=sys.stderr, flush=True)
            soak.drain()
            table.append(soak.line())
        except Lost as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    print(markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
