"""Requests that the ASGI application answers itself, beside or in front of Django."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from channel_layer.channel import AnswerableMessage
from channel_layer.exceptions import LayerUnavailable
from channels.http.flow import BROKEN_OFF, AsyncPacedSender
from channels.http.request import AsgiRequest
from channels.http.streaming import FAILED, TURNED_AWAY, described
from workers import Stream
from workers.instances import Event

from ..scope.applications import Application, Scope
from .scopes import http_scope

logger = logging.getLogger("channels.hosting")

PART_BYTES = 262_144
"""Bytes of a request's body in one event, and of a response's in one message."""

FAREWELL_SECONDS = 10.0
"""The time that an application has to end when its client has left, as under Channels 4's server."""


class HttpHost:
    """The consumer of ``http.request`` that has the application answer.

    Args:
        application: an ASGI 3 application.
        state: see `http_scope`.
    """

    def __init__(self, application: Application, state: Scope) -> None:
        self.application = application
        self._state = state

    def __call__(self, message: AnswerableMessage, **kwargs: object) -> Stream:
        """Answer one request."""
        return HostedRequest(self.application, message, self._state)


class HostedRequest(Stream):
    """One request and the application that answers it, on the worker's event loop."""

    def __init__(self, application: Application, message: AnswerableMessage, state: Scope) -> None:
        self.name = f"the response to {described(message)}"
        self._application = application
        self._message = message
        self._state = state
        self._body = AsgiRequest(message)
        self._has_body = True
        self._left = asyncio.Event()
        self._head: Scope | None = None
        self._is_begun = False
        self._outage: LayerUnavailable | None = None
        self._is_complete = False

    async def run(self) -> None:
        """See `Stream.run`."""
        sender = AsyncPacedSender(self._message)
        work = asyncio.get_running_loop().create_task(self._answer(sender))
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            if not sender.is_gone:  # the worker stops
                work.cancel()
                await asyncio.wait([work])
                await self._break_off(sender)
                return
            self._left.set()
            await asyncio.wait([work], timeout=FAREWELL_SECONDS)
            if not work.done():
                logger.warning("%s goes on although its client has left; it is cancelled", self.name)
                work.cancel()
                await asyncio.wait([work])
        finally:
            sender.close()

    def refuse(self) -> None:
        """See `Stream.refuse`."""
        self._message.reply_channel.send(TURNED_AWAY)

    async def _answer(self, sender: AsyncPacedSender) -> None:
        try:
            scope = http_scope(self._message.content, self._state)
            await self._application(scope, self._receive, partial(self._send, sender))
            if not self._is_complete and not sender.is_gone:
                raise RuntimeError("the application returned before its response was complete")
        except Exception as error:
            if sender.is_gone:
                logger.debug("%s ended with an error after its client had left", self.name, exc_info=True)
                return
            if error is self._outage:  # where in the application it was helps nobody
                logger.error("%s is lost: %s", self.name, error)
            else:
                logger.exception("error in %s", self.name)
            await self._break_off(sender)

    async def _break_off(self, sender: AsyncPacedSender) -> None:
        if not self._is_complete:
            await sender.send_at_all(BROKEN_OFF if self._is_begun else FAILED)

    async def _receive(self) -> Event:
        if self._has_body:
            part = await sync_to_async(self._body.read)(PART_BYTES)
            self._has_body = len(part) == PART_BYTES
            return {"type": "http.request", "body": part, "more_body": self._has_body}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, sender: AsyncPacedSender, event: Event) -> None:
        kind = event["type"]
        if kind == "http.response.start":
            headers = [[bytes(name), bytes(value)] for name, value in event.get("headers", ())]
            self._head = {"status": event["status"], "headers": headers}
        elif kind == "http.response.body":
            if self._head is None and not self._is_begun:
                raise RuntimeError("http.response.body came before http.response.start")
            await self._send_body(sender, bytes(event.get("body", b"")), bool(event.get("more_body", False)))
        else:
            raise ValueError(f"an application sends http.response.start and http.response.body, not {kind!r}")

    async def _send_body(self, sender: AsyncPacedSender, body: bytes, more: bool) -> None:
        if self._is_complete or self._left.is_set():
            return
        parts = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)] or [b""]
        for number, part in enumerate(parts, 1):
            head, self._head = self._head or {}, {}
            self._is_begun = True
            reply: Any = {**head, "content": part, "more_content": more or number < len(parts)}
            try:
                await sender.send(reply)
            except LayerUnavailable as error:
                self._outage = error
                raise
        self._is_complete = not more
