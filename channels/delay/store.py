"""Storage of delayed messages in the database; each is taken out by one process."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import InterfaceError, OperationalError, connections, router, transaction

from .models import DelayedMessage, DelayedMessageQuerySet

logger = logging.getLogger("channels.delay")

DATABASE_AWAY = (OperationalError, InterfaceError)
"""Errors of a database that cannot be reached or is too busy; the same call may succeed later."""


def alias() -> str:
    """Return the alias of the database that has the table."""
    return router.db_for_write(DelayedMessage)


def table_exists() -> bool:
    """Tell if the migrations have been run."""
    return DelayedMessage._meta.db_table in connections[alias()].introspection.table_names()


def save(rows: Sequence[DelayedMessage]) -> None:
    """Store rows, all of them or none; log and leave out one that the database refuses for good.

    Raises:
        OperationalError, InterfaceError: nothing was stored, see `DATABASE_AWAY`.
    """
    keys = [row.pk for row in rows]
    try:
        with transaction.atomic(using=alias()):
            for row in rows:
                row.save(force_insert=True, using=alias())
    except Exception as error:
        for row, key in zip(rows, keys, strict=True):
            row.pk, row._state.adding = key, True
        if isinstance(error, DATABASE_AWAY):
            raise
        if len(rows) == 1:
            logger.error("a delayed message for %s cannot be stored and is skipped: %s", rows[0].channel_name, error)
            return
        for row in rows:
            save([row])


def claim(limit: int, without: Collection[str]) -> list[DelayedMessage]:
    """Take up to ``limit`` due messages out of the database, the earliest first.

    When this returns they are deleted there, and no other process has them.

    Args:
        limit: most messages to take.
        without: channels whose messages stay.

    Raises:
        OperationalError, InterfaceError: nothing was taken.
    """
    features = connections[alias()].features
    if not features.has_select_for_update:
        # The deletion decides who gets a row. It comes first in its transaction, because SQLite refuses at
        # once to turn a reading transaction into a writing one when another has written.
        return _remove(list(_due(without)[:limit]))
    with transaction.atomic(using=alias()):
        due = _due(without).select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        return _remove(list(due[:limit]))


def next_due(without: Collection[str]) -> datetime | None:
    """Return the earliest due time; ``None`` if no message waits."""
    return _waiting(without).values_list("due_date", flat=True).first()


def _due(without: Collection[str]) -> DelayedMessageQuerySet:
    return _waiting(without).is_due()


def _waiting(without: Collection[str]) -> DelayedMessageQuerySet:
    rows = DelayedMessage.objects.using(alias()).order_by("due_date", "pk")
    return rows.exclude(channel_name__in=list(without)) if without else rows


def _remove(rows: Sequence[DelayedMessage]) -> list[DelayedMessage]:
    with transaction.atomic(using=alias()):
        table = DelayedMessage.objects.using(alias())
        taken = [row for row in rows if table.filter(pk=row.pk).delete()[0]]
    for row in taken:
        row._state.adding = True
    return taken
