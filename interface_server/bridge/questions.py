"""Answers to operators: which connections there are, what is known of one, and orders to close some or to end.

Questions are dealt with one after the other, in slices between which the event loop sees to its connections. See
`channel_layer.questions`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.questions import MOST_REASON, PAGE_ROWS, BadQuestion, Question, may_be_sent, page, understood

from ..logs.server_log import printable
from .connection import Connection, Kind
from .uplink import Uplink

logger = logging.getLogger("interface_server")

SLICE = 100
"""Connections that are looked at before the event loop has its turn."""

CLOSE_SLICE = 50
"""Connections that are closed before it has."""

MOST_WAITING = 16
"""Questions that wait; further ones are dropped, and the asker hears nothing."""

ROOM_SECONDS = 5.0
ROOM_CHECK_SECONDS = 0.05
"""The time for which a page waits for room in the uplink, whose other half is for what connections say."""

MOST_GROUPS = 20
"""Groups in the row of a connection."""


class Questions:
    """Answer what operators ask this process. Belongs to one event loop.

    Args:
        layer: any channel layer.
        name: the reply name of this process.
        connections: local part of a reply channel → connection.
        uplink: takes the answers.
        most_bytes: that the uplink holds.
        now: the event loop's time.

    Attributes:
        end_process: begins the orderly end of the process; ``None`` where the process belongs to somebody else.
    """

    def __init__(
        self,
        layer: ChannelLayer,
        name: str,
        connections: Mapping[str, Connection],
        uplink: Uplink,
        most_bytes: int,
        now: Callable[[], float],
    ) -> None:
        self.end_process: Callable[[], object] | None = None
        self._layer = layer
        self._reader = name
        self._name = name.rstrip("!")
        self._connections = connections
        self._uplink = uplink
        self._most_bytes = most_bytes
        self._now = now
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue(MOST_WAITING)

    def hear(self, delivery: Delivery) -> None:
        """Take a question, to be answered when its turn comes."""
        try:
            self._waiting.put_nowait(delivery)
        except asyncio.QueueFull:
            logger.warning("a question of an operator was dropped: %d wait already", MOST_WAITING)

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            delivery = await self._waiting.get()
            try:
                await self._deal_with(delivery)
            except BadQuestion as error:
                if not error.answer_to:
                    logger.error("a question of an operator was ignored: %s", error)
                else:
                    await self._say(error.answer_to, page(self._name, 1, True, error=str(error)))
            except Exception:
                logger.exception("a question of an operator could not be answered")

    async def _deal_with(self, delivery: Delivery) -> None:
        question = understood(self._name, delivery.message, self._layer.waited([delivery]))
        if question is None:
            logger.info("a question of an operator came too late and is left alone")
            return
        answer = {
            "connections": self._list,
            "connection": self._tell_of_one,
            "close": self._close,
            "drain": self._drain,
        }.get(question.ask)
        if answer is None:
            raise BadQuestion(f"{self._name} does not know the question {question.ask!r}", question.answer_to)
        await answer(question)

    async def _list(self, question: Question) -> None:
        """Rows of the connections that fit, ``limit`` of them at most, and the number of all that fit."""
        limit = _number(question, "limit", 0)
        rows: list[dict[str, Any]] = []
        count, number, told = 0, 1, 0
        async for local, connection in self._fitting(question):
            count += 1
            if told + len(rows) < limit:
                rows.append(self._row(local, connection))
            if len(rows) == PAGE_ROWS:
                await self._say(question.answer_to, page(self._name, number, False, rows=rows))
                number, told, rows = number + 1, told + len(rows), []
        await self._say(question.answer_to, page(self._name, number, True, rows=rows, count=count))

    async def _tell_of_one(self, question: Question) -> None:
        local = self._local(question)
        connection = self._connections.get(local)
        row = None if connection is None else {**self._row(local, connection, 10 * MOST_GROUPS), **connection.details()}
        await self._say(question.answer_to, page(self._name, 1, True, row=row))

    async def _close(self, question: Question) -> None:
        code, reason = _number(question, "code", 1000), str(question.content.get("reason") or "")
        if not may_be_sent(code) or len(reason.encode()) > MOST_REASON:
            sentence = "a close needs a code that may be sent, from 1000 to 4999, and at most 123 bytes of reason"
            raise BadQuestion(sentence, question.answer_to)
        if not any(question.content.get(key) for key in ("name", "path", "user", "group")):
            raise BadQuestion("a close needs a name, a path, a user or a group", question.answer_to)
        count = 0
        async for _, connection in self._fitting(question):
            if connection.close_for_operator(code, reason):
                count += 1
                if count % CLOSE_SLICE == 0:
                    await asyncio.sleep(0)
        logger.info("an operator has closed %d WebSockets with %d %s", count, code, printable(reason))
        await self._say(question.answer_to, page(self._name, 1, True, count=count))

    async def _drain(self, question: Question) -> None:
        if self.end_process is None:
            sentence = f"{self._name} runs inside another server, which alone can end it; stop that one"
            raise BadQuestion(sentence, question.answer_to)
        logger.info("an operator has this process drained")
        await self._say(question.answer_to, page(self._name, 1, True, draining=True))
        self.end_process()

    async def _fitting(self, question: Question) -> AsyncIterator[tuple[str, Connection]]:
        """Connections that a question is about, as there were when it came and still are."""
        asked = question.content
        path, user, group, kind = (str(asked.get(key) or "") for key in ("path", "user", "group", "kind"))
        if asked.get("name"):
            found = [self._local(question)]
        elif group:
            found = list(self._layer.index.members(self._reader, group))
        else:
            found = list(self._connections)
        for count, local in enumerate(found, 1):
            if count % SLICE == 0:
                await asyncio.sleep(0)
            connection = self._connections.get(local)
            if connection is None or not connection.path.startswith(path):
                continue
            if kind and connection.kind.name.lower() != kind:
                continue
            if not user or connection.user == user:
                yield local, connection

    def _local(self, question: Question) -> str:
        return str(question.content.get("name") or "").removeprefix(self._reader)

    def _row(self, local: str, connection: Connection, most_groups: int = MOST_GROUPS) -> dict[str, Any]:
        groups = self._layer.index.groups_of(self._reader, local) if connection.kind is Kind.WEBSOCKET else []
        return {
            "name": self._reader + local,
            "kind": connection.kind.name.lower(),
            **connection.facts(),
            "groups": groups[:most_groups],
            "groups_count": len(groups),
        }

    async def _say(self, channel: str, content: Mapping[str, Any]) -> None:
        """Send a page, when there is room for it."""
        try:
            item = self._layer.prepare(channel, content)
        except ChannelLayerError as error:
            logger.error("an operator gets no answer: %s", error)
            return
        until = self._now() + ROOM_SECONDS
        while self._uplink.waiting_bytes > self._most_bytes // 2 and self._now() < until:  # noqa: ASYNC110 - no event
            await asyncio.sleep(ROOM_CHECK_SECONDS)
        self._uplink.put(item, patient=True)


def _number(question: Question, key: str, default: int) -> int:
    value = question.content.get(key)
    return value if type(value) is int else default
