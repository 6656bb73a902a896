"""Errors of psycopg and of the server, translated."""

from __future__ import annotations

import psycopg
from psycopg import errors

from ..exceptions import LayerUnavailable, LayerUnusable

REFUSALS = (
    errors.InvalidPassword,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
)
"""Answers to who connects, which are the same until the settings are changed."""

IN_VAIN = ("no password supplied", "password authentication failed", "no pg_hba.conf entry", "does not exist")
"""The same where the driver passes on the text alone, in the language of a server that speaks English."""

REPEATABLE = (errors.DeadlockDetected, errors.SerializationFailure)
"""The transaction was undone because of another; it may be run again."""


BY_STATEMENT = "statement pooling mode"
"""In PgBouncer's refusal of transactions."""

GONE = (errors.UndefinedTable, errors.UndefinedFunction, errors.InvalidSchemaName)
"""Somebody has dropped the tables; the next connection makes them anew."""


def not_connected(error: psycopg.Error, where: str) -> LayerUnavailable:
    """No connection was made, so nothing has happened."""
    text = _text(error)
    if isinstance(error, REFUSALS) or any(part in text for part in IN_VAIN):
        return LayerUnusable(
            where,
            f"PostgreSQL at {where} refuses the connection: {text}. Check the user, the password and the database in "
            "CONFIG (dsn), or the entry of DATABASES that CONFIG names (database).",
            uncertain=False,
        )
    return LayerUnavailable(where, text, uncertain=False)


def failed(error: psycopg.Error, where: str) -> LayerUnavailable:
    """A statement has failed. If the server says so, it has undone it; a connection that broke says nothing."""
    text = _text(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return LayerUnusable(
            where,
            f"the user of the channel layer at {where} lacks a right: {text}. Let it own the layer's schema, or grant "
            "it CREATE on the database for as long as it takes to make that.",
            uncertain=False,
        )
    if BY_STATEMENT in text:
        return without_notifications(where)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return replica(where)
    if isinstance(error, GONE):
        return LayerUnavailable(where, f"its tables are gone ({text}); they are made anew", uncertain=False)
    return LayerUnavailable(where, text, uncertain=error.sqlstate is None)


def without_notifications(where: str) -> LayerUnusable:
    """A pooler is in between that keeps no connection for a client."""
    return LayerUnusable(
        where,
        f"LISTEN does not work at {where}, as behind a pooler that gives each transaction or statement another "
        "connection: set PgBouncer's pool_mode to session for this user, or give the address of PostgreSQL itself in "
        "CONFIG (dsn).",
        uncertain=False,
    )


def replica(where: str) -> LayerUnusable:
    """The server can only be read."""
    return LayerUnusable(
        where,
        f"PostgreSQL at {where} is a replica or read-only. Name the primary; with several hosts in the DSN, "
        "target_session_attrs=read-write finds it.",
        uncertain=False,
    )


def _text(error: psycopg.Error) -> str:
    """The server's message in one line, without the statement."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
