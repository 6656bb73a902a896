"""Consumers behind a channel: an ASGI application gets the messages that are sent there (`ChannelNameRouter`)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from channel_layer.channel import Message
from workers.exceptions import ConsumeLater
from workers.hooks import AfterEvent

from ..runtime.hooks import on_background
from ..scope.applications import Application, Event, refuse_answer


def background_channels(application: Any) -> list[str] | None:
    """Channels that the ``"channel"`` entry of an application names, found through middleware.

    Returns:
        ``None`` if the application takes messages of channels and says not of which.
    """
    mapping = getattr(application, "application_mapping", None)
    inner = mapping.get("channel") if isinstance(mapping, Mapping) else None
    if inner is None:
        return []
    while not isinstance(mapping := getattr(inner, "application_mapping", None), Mapping):
        inner = getattr(inner, "inner", None)
        if inner is None:
            return None
    return list(mapping)


class BackgroundConsumer:
    """The consumer of a channel, which has an instance of an application deal with one message at a time.

    The instance lasts from one message to the next, in this process; each worker process has its own.

    Args:
        application: an ASGI 3 application.
        channel: the name of the channel.
    """

    hands_over = True
    """See `HostConsumer.hands_over`."""

    def __init__(self, application: Application, channel: str) -> None:
        self._application = application
        self._channel = channel
        self._instance: _Instance | None = None
        self.__qualname__ = f"{type(self).__qualname__}({channel!r})"

    async def __call__(self, message: Message, **kwargs: object) -> None:
        """Deal with one message; returns when the instance asks for the next.

        Raises:
            ConsumeLater: the worker stops, and its turn has not come.
        """
        instance = self._instance
        if instance is None or instance.loop is not asyncio.get_running_loop():
            instance = self._instance = _Instance(self._application, self._channel)
        try:
            await instance.turn.acquire()
        except asyncio.CancelledError:
            raise ConsumeLater from None
        try:
            await instance.deal_with(dict(message.content))
        finally:
            instance.turn.release()


class _Instance:
    """The application of a channel on an event loop; begun again with the message after one that ended it."""

    def __init__(self, application: Application, channel: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.turn = asyncio.Lock()
        self._application = application
        self._channel = channel
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._done: asyncio.Future[None] | None = None
        self._beginnings: list[Callable[[], AfterEvent]] = []
        self._endings: list[AfterEvent] = []

    async def deal_with(self, event: Event) -> None:
        """Have the application deal with an event; raises what it raises."""
        self._done = self.loop.create_future()
        self._events.put_nowait(event)
        if self._task is None:
            # A context of its own: it goes on when the consumer of this message has ended.
            self._task = self.loop.create_task(self._run(), context=contextvars.Context())
        task = self._task
        try:
            await asyncio.wait([task, self._done], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            if task.done():
                self._task, self._events = None, asyncio.Queue()
        if task.done():
            task.result()

    async def _run(self) -> None:
        scope = {"type": "channel", "channel": self._channel}
        self._beginnings = [opened(self._channel) for opened in on_background]
        error: BaseException | None = None
        try:
            await self._application(scope, self._receive, self._send)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end_event(error)
            error = None  # its traceback holds this frame

    def _end_event(self, error: BaseException | None) -> None:
        endings, self._endings = self._endings, []
        for end in endings:
            end(error)

    async def _receive(self) -> Event:
        self._end_event(None)
        if self._events.empty() and self._done is not None and not self._done.done():
            self._done.set_result(None)
        event = await self._events.get()
        self._endings = [begin() for begin in self._beginnings]
        return event

    async def _send(self, event: Event) -> None:
        refuse_answer(self._channel, event)
