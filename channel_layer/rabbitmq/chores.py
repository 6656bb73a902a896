"""Chores, which are due for anybody: a process that receives takes one, and acknowledges it when it is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from .amqp import Channel, Got
from .loop_thread import undisturbed
from .schema import Schema
from .session import Session

_log = logging.getLogger("channel_layer.rabbitmq")

RETRY_SECONDS = 1.0
"""Pause after a chore that failed."""

AT_ONCE = 10
"""Chores that one process has in hand."""


class Chores:
    """Takes chores as long as a session lasts. Runs in one event loop.

    Args:
        kinds: what to do, by the kind of the message.
        background: runs something that nobody waits for.
    """

    def __init__(
        self,
        schema: Schema,
        kinds: Mapping[str, Callable[[Session, bytes], Awaitable[None]]],
        background: Callable[[Awaitable[object]], None],
    ) -> None:
        self._schema = schema
        self._kinds = kinds
        self._background = background
        self._session: Session | None = None

    async def begin(self, session: Session) -> None:
        """Take chores from now on, if this session does not do it yet. Not ended by the caller's cancellation.

        Raises:
            AMQPError: the connection is lost.
        """
        if self._session is not session:
            self._session = session
            await undisturbed(self._begin(session))

    async def _begin(self, session: Session) -> None:
        try:
            await session.declare(self._schema.chores, anew=True)
            channel = await session.channel()
            channel.cancelled = lambda _: self._ended(session)
            channel.closed = lambda _: self._ended(session)
            await channel.qos(AT_ONCE)
            await channel.consume(
                self._schema.chores.name, lambda got: self._background(self._do(session, channel, got))
            )
        except BaseException:
            self._session = None
            raise

    def _ended(self, session: Session) -> None:
        """The queue is gone, or the AMQP channel; the next receive begins anew."""
        session.gone(self._schema.chores.name)
        if self._session is session:
            self._session = None

    async def _do(self, session: Session, channel: Channel, got: Got) -> None:
        """Do a chore; one that fails is left for later, or for others."""
        work = self._kinds.get(got.properties.type or "")
        try:
            if work is not None:
                await work(session, got.body)
        except ValueError:
            _log.warning("A chore of the channel layer cannot be read, and is dropped")
        except Exception:
            await asyncio.sleep(RETRY_SECONDS)
            if channel.is_open:
                channel.give_back(got.tag)
            raise
        if channel.is_open:
            channel.ack(got.tag)
