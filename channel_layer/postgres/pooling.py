"""Poolers such as PgBouncer: a layer works behind those that lend a client a connection for as long as it stays."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack, closing

import psycopg

from . import errors
from .connections import CONNECT_SECONDS, Connection, Statement, has_ended

PROOF_SECONDS = 2.0
"""Time in which a notification has to arrive through a pooler."""


def prove(conninfo: str, where: str) -> None:
    """Find out if notifications arrive through a pooler. Blocks; leaves no settings on its connections.

    Args:
        conninfo: as libpq takes it.
        where: the same without the password, for messages.

    Raises:
        LayerUnusable: they do not.
        LayerUnavailable: the database cannot be reached.
    """
    name = f"millrace_{os.urandom(10).hex()}"
    try:
        with ExitStack() as stack:
            hears, says = (stack.enter_context(closing(_connected(conninfo))) for _ in range(2))
            hears.rows(Statement(f'LISTEN "{name}"'))
            heard: list[str] = []
            hears.tell(heard.append)
            says.rows(Statement("SELECT pg_notify(%s, %s)", (name, "proof")))
            poll = select.poll()
            poll.register(hears.pgconn.socket, select.POLLIN)
            if not poll.poll(PROOF_SECONDS * 1000) or has_ended(hears) or "proof" not in heard:
                raise errors.without_notifications(where)
    except psycopg.Error as error:
        raise errors.not_connected(error, where) from error


def _connected(conninfo: str) -> Connection:
    return Connection.connect(conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
