"""Consumers of Channels 2 to 4: one instance for each scope, one method for each type of event."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from asgiref.sync import async_to_sync

from channel_layer.registry import DEFAULT_CHANNEL_LAYER

from .db import (
    aclose_old_connections,
    connections_caretaker,
    database_sync_to_async,
    looking_after_connections,
    renew_connections,
)
from .exceptions import StopConsumer
from .hosting.thread_sends import ThreadSends
from .layers import get_channel_layer
from .scope.applications import LEASE, Application, Event, Receive, Scope, Send
from .utils import await_many_dispatch, name_that_thing

__all__ = ["AsyncConsumer", "SyncConsumer", "get_handler_name"]


def get_handler_name(message: Event) -> str:
    """Return the name of the method for an event: its type with ``_`` for ``.``.

    Raises:
        ValueError: the event has no type, or one that would name a private method.
    """
    if "type" not in message:
        raise ValueError("Incoming message has no 'type' attribute")
    return _handler_name(message["type"])


@functools.lru_cache(maxsize=512)
def _handler_name(kind: str) -> str:
    name = kind.replace(".", "_")
    if name.startswith("_"):
        raise ValueError("Malformed type in message (leading underscore)")
    return name


class AsyncConsumer:
    """An ASGI application whose coroutine methods handle events, one at a time.

    The handler of an event of type ``chat.message`` is the method ``chat_message(event)``. Events come from the client
    and, if there is a channel layer, from the channel `channel_name`. An instance serves one scope and lasts as long;
    it ends when a handler raises `StopConsumer`.

    Attributes:
        scope: of the connection.
        channel_layer: the layer with the alias `channel_layer_alias`, or ``None`` if the settings have none.
        channel_name: this instance's channel; not set without a layer. It is the connection's own, which lasts as long,
            unless the connection comes over another layer.
        channel_receive: waits for the next message on it; not set without a layer.
        base_send: sends an event to the server.
    """

    channel_layer_alias: ClassVar[str] = DEFAULT_CHANNEL_LAYER
    _sync: ClassVar[bool] = False

    scope: Scope
    channel_layer: Any
    channel_name: str
    channel_receive: Receive
    base_send: Any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the events of a scope until a handler raises `StopConsumer`."""
        lease = (scope.get("extensions") or {}).get(LEASE)
        self.scope = scope
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        sources = [receive]
        if lease is not None and (self.channel_layer is None or _carries(self.channel_layer, lease)):
            # The connection's own name, which outlives this instance. What is sent to it comes through `receive`, in
            # one order with what the client sends.
            self.channel_name = lease.channel_name
            self.channel_receive = receive
        elif self.channel_layer is not None:
            self.channel_name = await self.channel_layer.new_channel()
            self.channel_receive = functools.partial(self.channel_layer.receive, self.channel_name)
            sources.append(self._next_message)
        dispatch: Callable[[Event], Awaitable[object]] = self.dispatch
        self.base_send = send
        if self._sync and lease is not None:
            self.base_send = sends = ThreadSends(send)
            dispatch = functools.partial(_dispatch_in_thread, _in_thread(self), sends)
        elif self._sync:
            self.base_send = async_to_sync(send)
        attach = getattr(lease, "attach", None)
        if attach is not None:
            attach(self)  # it may give the instance the attributes of one that went before
        try:
            if len(sources) == 1:  # here, since a coroutine of its own would take memory for as long as this lasts
                while True:
                    await dispatch(await receive())
            await await_many_dispatch(sources, dispatch)
        except StopConsumer:
            pass

    def _next_message(self) -> asyncio.Task[Event]:
        # Its name is in the log when it stands in the way of a deploy: the channel is one of this process.
        return asyncio.create_task(
            _result_of(self.channel_receive), name=f"messages of layer {self.channel_layer_alias}"
        )

    async def dispatch(self, message: Event) -> None:
        """Call the handler of an event.

        Raises:
            ValueError: there is none, or the event has no proper type.
        """
        handler = _handler(self, message)
        if not renew_connections():  # in a worker that is all, and takes no coroutine
            await aclose_old_connections()
        await handler(message)

    async def send(self, message: Event) -> None:
        """Send an event to the server."""
        await self.base_send(message)

    @classmethod
    def as_asgi(cls, **initkwargs: object) -> Application:
        """Return an ASGI 3 application that makes an instance for each scope.

        Args:
            initkwargs: arguments for the instances.
        """

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await cls(**initkwargs)(scope, receive, send)

        app.consumer_class = cls  # type: ignore[attr-defined]
        app.consumer_initkwargs = initkwargs  # type: ignore[attr-defined]
        app.consumer_itself = app  # type: ignore[attr-defined]  # a wrapper has its attributes, and is another one
        functools.update_wrapper(app, cls, updated=())
        return app


class SyncConsumer(AsyncConsumer):
    """An ASGI application whose plain methods handle events, one at a time, in a thread.

    See `AsyncConsumer`. In one process all of them share a thread by asgiref's rules, as in Channels 4.
    """

    _sync = True

    @database_sync_to_async
    def dispatch(self, message: Event) -> None:  # type: ignore[override]  # it is bound like a method
        """See `AsyncConsumer.dispatch`."""
        _handler(self, message)(message)

    def send(self, message: Event) -> None:  # type: ignore[override]  # in a thread, there is nothing to await
        """Send an event to the server."""
        self.base_send(message)


def _carries(layer: Any, lease: Any) -> bool:
    carried_by = getattr(lease, "is_carried_by", None)
    return carried_by is None or bool(carried_by(layer))


async def _result_of(receive: Receive) -> Event:
    return await receive()


async def _dispatch_in_thread(
    dispatch: Callable[[Event], Awaitable[object]], sends: ThreadSends, message: Event
) -> None:
    sends.begin()
    try:
        await dispatch(message)
    finally:
        await sends.end()


def _in_thread(consumer: AsyncConsumer) -> Callable[[Event], Awaitable[object]]:
    """The way to the handlers of a sync consumer in its thread: the short one, if nothing else is wanted."""
    caretaker = connections_caretaker.get()
    has_own = "dispatch" in vars(consumer) or _dispatch_of(type(consumer)) is not _DISPATCH
    if caretaker is not None and caretaker.is_used and not has_own:
        call: Callable[..., Awaitable[object]] = caretaker.call
        return functools.partial(call, _handle, consumer)
    return consumer.dispatch


def _dispatch_of(kind: type[AsyncConsumer]) -> object:
    return next(base.__dict__["dispatch"] for base in kind.__mro__ if "dispatch" in base.__dict__)


_DISPATCH = _dispatch_of(SyncConsumer)


def _handle(consumer: AsyncConsumer, message: Event) -> None:
    with looking_after_connections:
        _handler(consumer, message)(message)


def _handler(consumer: AsyncConsumer, message: Event) -> Any:
    handler = getattr(consumer, get_handler_name(message), None)
    if handler is None:
        raise ValueError(f"No handler for message type {message['type']} in {name_that_thing(consumer)}")
    return handler
