"""An application with the connection that it runs for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from channel_layer.delivery import Headers, Message
from channel_layer.layer import ChannelLayer
from channel_layer.messages import CONNECT, DISCONNECT
from interface_server.logs.server_log import printable
from workers.instances import LEFT, Event, Hosted, NotCarried, Receive, Send

from ..coroutine_layer import CoroutineChannelLayer
from ..scope.applications import LEASE, Application, Scope, is_consumer
from ..scope.routers import behind_routers
from ..scope.sessions import SessionState, changed_session, session_names
from ..scope.users import name_if_known
from ..utils import name_that_thing
from . import checkpoints
from .checkpoints import BadCheckpoint, Marks, is_same, names_of
from .events import (
    ACCEPT,
    ANY,
    CLOSE,
    DENIAL,
    DENIAL_START,
    HANDSHAKE,
    OPEN,
    SEND,
    Denial,
    acceptance_of,
    close_of,
    frame_of,
    unexpected,
)

logger = logging.getLogger("channels.hosting")


SHARED = "__shared__"
"""In a checkpoint: attributes that hold something of ``scope["state"]``, by its name there."""

RESTART = {"type": "websocket.close", "code": LEFT, "reason": "service restart"}


class CannotGoOn(Exception):
    """The instance cannot be made again from its checkpoint; its client has to connect again."""


class HostedApplication(Hosted):
    """An ASGI application and a scope; see `Hosted`. It is the extension `LEASE` of that scope.

    Args:
        application: an ASGI 3 application.
        scope: of the connection; this adds its extension.
        reply_channel, epoch, done, events, is_orphan: see `Hosted`.
        checkpoint: what an instance before it has left.
        channel_layer: what carries the connection.

    Attributes:
        session: what an instance before this one has done to the session of the connection.
    """

    __slots__ = (
        "_application",
        "_consumer",
        "_denial",
        "_expected",
        "_given",
        "_layer",
        "_left",
        "_marks",
        "_of_process",
        "_packed",
        "_path",
        "_receive",
        "_restore",
        "_resume",
        "_scope",
        "_state",
        "_told",
        "done",
        "epoch",
        "events",
        "is_orphan",
        "reply_channel",
        "session",
    )  # fmt: skip

    def __init__(
        self,
        application: Application,
        scope: Scope,
        reply_channel: str,
        epoch: int,
        done: int,
        events: list[tuple[int, Event]],
        checkpoint: bytes | None,
        is_orphan: bool = False,
        channel_layer: ChannelLayer | None = None,
    ) -> None:
        self.reply_channel = reply_channel
        self._layer = channel_layer
        self.epoch = epoch
        self.done = done
        self.events = events
        self.is_orphan = is_orphan
        self._application = application
        self._scope = scope
        self._path: str = scope["path"]
        self._of_process: Scope = scope.get("state", {})
        self._left = checkpoint
        self._consumer: Any = None
        self._given: tuple[tuple[str, ...], tuple[object, ...]] = ((), ())
        self._restore: tuple[Scope, Scope, _Identity] | None = None
        self._resume: Callable[[Any], Awaitable[None]] | None = None
        self._state: Any = None
        self._packed = b""
        self._marks: Marks | None = None
        self._receive: Receive
        self._denial: Denial | None = None
        self.session: SessionState | None = None
        self._told: str | None = None
        begins = bool(events) and events[0][1].get("type") == CONNECT
        self._expected = HANDSHAKE if begins else ANY

    @property
    def name(self) -> str:
        """See `Hosted`."""
        return f"the application behind {printable(self._path)}"

    @property
    def channel_name(self) -> str:
        """The name of the connection, which outlives the instance."""
        return self.reply_channel

    @property
    def scope(self) -> Scope:
        """The scope of the consumer, with what routers and middleware have added; of another application the path."""
        return {"path": self._path} if self._consumer is None else self._consumer.scope

    @property
    def route(self) -> str:
        """Dotted path of the consumer's class; of an application of another kind its path in a few words."""
        return self.name if self._consumer is None else name_that_thing(type(self._consumer))

    def is_carried_by(self, layer: CoroutineChannelLayer) -> bool:
        """True if the connection comes over this layer: then messages for `channel_name` belong there."""
        ours, theirs = (getattr(one, "channel_layer", one) for one in (self._layer, layer))
        return ours is None or ours is theirs

    async def run(self, receive: Receive, send: Send) -> None:
        """See `Hosted.run`."""
        scope, self._scope = self._scope, {}  # routers make another one, and then this takes memory for nothing
        scope["extensions"][LEASE] = self
        self._receive = receive
        try:
            if self._left is not None:
                self._restore = self._load(self._left)
                self.session = self._restore[2][2]
            application, scope = behind_routers(self._application, scope)
            if is_consumer(application):
                application = application.consumer_class(**application.consumer_initkwargs)  # type: ignore[attr-defined]
            await application(scope, self._next_event, send)
            if self._expected in (HANDSHAKE, DENIAL):
                logger.error("%s has returned without an answer to the handshake; its client gets 500", self.name)
        except CannotGoOn as reason:
            logger.warning("closing %s: %s", self.name, reason)
            await send(RESTART)
        except Exception as error:
            if self._left is None or self._consumer is not None:
                raise
            # Nothing has taken the checkpoint: the code around the consumer has changed, or cannot run now.
            logger.warning("closing %s: it cannot be made again: %r", self.name, error, exc_info=True)
            await send(RESTART)

    def _next_event(self) -> Awaitable[Event]:
        # No coroutine around each event, only around those of the handshake and the first elsewhere; and methods, since
        # functions that each instance has for itself take 500 bytes of a quiet one.
        if self._expected is HANDSHAKE:
            return self._before_answer()
        if self._resume is None and (self._left is None or self._consumer is not None):
            return self._receive()
        return self._resumed()

    async def _before_answer(self) -> Event:
        event = await self._receive()
        if event.get("type") == DISCONNECT:
            self._expected = ANY  # nobody waits for the answer any more
        return event

    async def _resumed(self) -> Event:
        resume, self._resume = self._resume, None
        if resume is None:
            raise CannotGoOn("no consumer has taken its checkpoint")
        await resume(self._state)
        return await self._receive()

    def reply_to(self, event: Event) -> Message | None:
        """See `Hosted.reply_to`."""
        kind = event.get("type")
        if kind not in self._expected:
            raise unexpected(event, self._expected)
        if kind == SEND:
            return frame_of(event)
        if kind == ACCEPT:
            reply: Message | None = acceptance_of(event)
            self._expected = OPEN if self._expected is HANDSHAKE else ANY
        elif kind == CLOSE:
            reply, self._expected = close_of(event, is_open=self._expected is not HANDSHAKE), ANY
        elif kind == DENIAL_START:
            self._denial, reply, self._expected = Denial(event), None, DENIAL
        else:
            reply = None if self._denial is None else self._denial.add(event)
            if reply is not None:
                self._denial, self._expected = None, ANY
        return reply

    def news(self) -> Headers:
        """See `Hosted.news`."""
        consumer, news = self._consumer, Headers()
        if consumer is not None:
            if self._told is None:
                news["consumer"], self._told = name_that_thing(consumer), ""
            user = name_if_known(consumer.scope.get("user"))
            if user is not None and user != self._told:
                news["user"] = self._told = user
        return news

    def checkpoint(self) -> bytes:
        """See `Hosted.checkpoint`."""
        consumer = self._consumer
        if consumer is None:
            return super().checkpoint()
        scope = consumer.scope
        session = changed_session(scope)
        marks: Marks | None = None
        if session is None:
            more = (*scope.values(), type(consumer), _key_of(scope.get("user")))
            if self._marks is not None and self._marks.hold_for(consumer.__dict__, *more):
                return self._packed
            if is_same(scope.values(), self._given[1]):
                marks = Marks.of(consumer.__dict__, *more)
        added = self._added()
        self._marks = None  # of the last checkpoint that was made
        identity = self._identity(added, session)
        own = self._without_shared(consumer.__dict__)
        self._packed = checkpoints.pack(own, added, identity, self.reply_channel, self._packed)
        self._marks = marks
        return self._packed

    def _without_shared(self, attributes: Scope) -> Scope:
        """The attributes with names in place of what the application has made for the process when it started."""
        names = {id(value): name for name, value in self._of_process.items() if not checkpoints.is_plain(value)}
        if not names:
            return attributes
        shared = {name: names[id(value)] for name, value in attributes.items() if id(value) in names}
        own = {name: value for name, value in attributes.items() if name not in shared}
        return {**own, SHARED: shared} if shared else own

    async def hand_over(self) -> bytes | None:
        """See `Hosted.hand_over`: what the consumer's method ``handover`` returns, for ``resumed`` of the next."""
        consumer = self._consumer
        handover = getattr(consumer, "handover", None)
        if handover is None or not hasattr(consumer, "resumed"):
            return None
        try:
            state = await handover()
            added = self._added()
            identity = self._identity(added, changed_session(consumer.scope))
            return checkpoints.pack({"__handover__": state}, added, identity, self.reply_channel)
        except NotCarried as reason:
            logger.error("handover() of %s returned what cannot be carried: %s", type(consumer).__qualname__, reason)
        except Exception:
            logger.exception("handover() of %s failed", type(consumer).__qualname__)
        return None

    def _load(self, checkpoint: bytes) -> tuple[Scope, Scope, _Identity]:
        try:
            return checkpoints.unpack(checkpoint, self.reply_channel)
        except BadCheckpoint as reason:
            raise CannotGoOn(str(reason)) from reason

    def _added(self) -> Scope:
        """Keys that handlers have set in the scope."""
        scope, (keys, values) = self._consumer.scope, self._given
        if is_same(scope.values(), values):
            return {}
        given = dict(zip(keys, values, strict=True))
        added = {key: value for key, value in scope.items() if given.get(key, self) is not value}
        added.pop("state", None)  # of this process; another has its own
        return added

    def _identity(self, added: Scope, session: SessionState | None) -> _Identity:
        """As whom the instance runs: what its middleware is to find again in another process."""
        scope = self._consumer.scope
        user = scope.get("user")
        if "user" in added and not session_names(scope, user):
            # A handler has put it there, and knows it from elsewhere: the middleware will not find it.
            user = dict(zip(*self._given, strict=True)).get("user")
        return name_that_thing(self._consumer), _key_of(user), session

    def attach(self, consumer: Any) -> bool:
        """Take in a consumer, which calls this before its first event.

        It is given the attributes of the one before it. Returns whether there was one.
        """
        self._consumer = consumer
        self._given = names_of(consumer.scope), tuple(consumer.scope.values())
        if self._restore is None:
            return False
        own, added, (kind, user, _) = self._restore
        if kind != (here := name_that_thing(consumer)):
            raise CannotGoOn(f"its path leads to {here} now, and led to {kind}")
        if user != _key_of(consumer.scope.get("user")):
            raise CannotGoOn("the scope has another user now")
        consumer.scope.update(added)
        for attribute, name in own.pop(SHARED, {}).items():
            if name not in self._of_process:
                raise CannotGoOn(f"self.{attribute} was {name!r} of the state, which the application has not made here")
            own[attribute] = self._of_process[name]
        if "__handover__" in own:
            self._state, self._resume = own["__handover__"], consumer.resumed
        else:
            consumer.__dict__.update(own)
        return True


_Identity: TypeAlias = tuple[str, Any, SessionState | None]
"""The class of an instance, the key of the user (``None`` for nobody), and the session if that was changed."""


def _key_of(user: object) -> Any:
    return getattr(user, "pk", None)
