"""Queues of records: small tables for brokers that have only queues.

A record is a message that says of a key what its value is from now on. Whoever reads takes all of them in hand, which
no other reader can do meanwhile, makes the table of them, removes those that later ones have replaced, and gives the
rest back to their places. So appending costs one message, and reading keeps the queue short.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgpack  # type: ignore[import-untyped]

from .amqp import ACCESS_REFUSED, NOT_FOUND, ChannelClosedByBroker, Got
from .loop_thread import beside, undisturbed
from .schema import FOREVER, Queue
from .session import LOST, Session

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_log = logging.getLogger("channel_layer.rabbitmq")

COMPACT_LEAST = 200
"""Least number of records after which a process that has added them reads the queue, which drops what is not needed;
otherwise it is as many as were needed when it last looked."""

RETRY_SECONDS = 0.02
"""Pause while somebody else reads the same records."""


class Record(NamedTuple):
    """Value of a key from some time on.

    Attributes:
        value: ``None`` removes the key.
        at: when it was said, in seconds since 1970 by the clock of whoever did.
    """

    key: str
    value: bytes | None
    at: float


class Folded(NamedTuple, Generic[T_co]):
    """Result of looking at all records.

    Attributes:
        result: for whoever reads.
        kept: numbers of the records that are still needed; the others are removed.
        added: records to add before those are removed.
    """

    result: T_co
    kept: Collection[int]
    added: Sequence[Record] = ()


Fold = Callable[[Sequence[Record]], Folded[T]]
"""Makes something of all records, oldest first."""


def pack(value: object) -> bytes:
    """Encode what this layer tells itself: texts, numbers, bytes, lists and dicts of them."""
    return msgpack.packb(value)  # type: ignore[no-any-return]


def unpack(data: bytes) -> Any:
    """Decode what `pack` made.

    Raises:
        ValueError: it did not make this.
    """
    try:
        return msgpack.unpackb(data)
    except (TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"not what this layer packs: {error}") from error


async def add(
    session: Session,
    queue: Queue,
    key: str,
    value: bytes | None,
    seconds: float,
    at: float | None = None,
    fold: Fold[Any] | None = None,
) -> None:
    """Add a record that is dropped after some time.

    Args:
        fold: says which records are still needed, once this process has added many; `latest` if left out.

    Raises:
        AMQPError: the connection is lost; it may have been added.
    """
    await _append(session, queue, Record(key, value, time.time() if at is None else at), seconds)
    left = session.until_read[queue.name] = session.until_read.get(queue.name, COMPACT_LEAST) - 1
    if left <= 0:
        session.until_read[queue.name] = COMPACT_LEAST
        beside(_compact(session, queue, fold or latest))


async def read(session: Session, queue: Queue, fold: Fold[T], make: bool = True) -> T:
    """Read all records and drop those that are not needed any more. Not ended by the caller's cancellation.

    Args:
        make: whether a queue that is not there is made. Otherwise it has no records.

    Raises:
        AMQPError: the connection is lost.
    """
    return await undisturbed(_read(session, queue, fold, make))


async def _append(session: Session, queue: Queue, record: Record, seconds: float) -> None:
    body = pack(record)
    session.kept[queue.name] = queue
    await session.publish_on(queue, body, seconds=seconds, is_kept=True)


async def _compact(session: Session, queue: Queue, fold: Fold[Any]) -> None:
    """Drop records that are not needed; nobody waits for that."""
    try:
        await _read(session, queue, fold, make=False)
    except LOST:
        return  # the next session counts from the beginning
    except Exception:
        _log.exception("Records of the channel layer could not be made fewer")


async def _read(session: Session, queue: Queue, fold: Fold[T], make: bool) -> T:
    while True:
        if make:
            await session.declare(queue)
        try:
            async with session.short_lived() as channel:
                found: list[Got] = []
                await channel.consume(queue.name, found.append, exclusive=True)
                await channel.length(queue.name)
                taken = tuple(found)
                folded = fold([_opened(got) for got in taken])
                session.until_read[queue.name] = max(COMPACT_LEAST, len(folded.kept))
                for record in folded.added:
                    await _append(session, queue, record, FOREVER)
                for n, got in enumerate(taken):
                    if n not in folded.kept:
                        channel.ack(got.tag)
                return folded.result
        except ChannelClosedByBroker as error:
            if error.reply_code == NOT_FOUND:
                session.gone(queue.name)
                if not make:
                    return fold(()).result
            elif error.reply_code != ACCESS_REFUSED or "exclusive" not in str(error.reply_text):
                raise
            await asyncio.sleep(RETRY_SECONDS)


def latest(records: Sequence[Record]) -> Folded[dict[str, Record]]:
    """The last record of each key that was not removed."""
    last = {record.key: n for n, record in enumerate(records)}
    kept = {n for n in last.values() if records[n].value is not None}
    return Folded({records[n].key: records[n] for n in sorted(kept)}, kept)


def _opened(got: Got) -> Record:
    """The record of a message; one that is none of ours removes a key that nobody has."""
    try:
        key, value, at = unpack(got.body)
        return Record(str(key), value if isinstance(value, bytes) else None, float(at))
    except (ValueError, TypeError):
        return Record("", None, 0.0)
