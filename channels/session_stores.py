"""Stores of the sessions of channels and of browsers."""

from __future__ import annotations

import functools
import hashlib
import logging
from importlib import import_module
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase
from django.core.exceptions import ImproperlyConfigured
from django.http import parse_cookie

from channel_layer.channel import Message
from channel_layer.layer import ChannelLayer
from channel_layer.registry import DEFAULT_CHANNEL_LAYER

from .asked_state import AskedState, can_be_asked
from .configured_layers import channel_layers
from .connection_session import ConnectionSession
from .exceptions import ConsumeLater
from .http.request import header_pairs
from .runtime.cached_settings import cached_until_set
from .runtime.django_internals import give_key

logger = logging.getLogger("channels.sessions")

STORES = ("connection", "database")
"""Values of the setting CHANNEL_SESSION_STORE; the first is the default."""


@cached_until_set("CHANNEL_SESSION_STORE")
def uses_connections() -> bool:
    """Tell if channel sessions ride with connections that can carry them (CHANNEL_SESSION_STORE).

    Raises:
        ImproperlyConfigured: the setting has another value than one of `STORES`.
    """
    store = getattr(settings, "CHANNEL_SESSION_STORE", STORES[0])
    if store not in STORES:
        raise ImproperlyConfigured(f"CHANNEL_SESSION_STORE must be 'connection' or 'database', not {store!r}")
    return bool(store == STORES[0])


@functools.lru_cache(4096)
def session_key_for(reply_channel: str) -> str:
    """The key of a reply channel's session, at most 32 characters long as Django's table wants it."""
    return "chn" + hashlib.sha1(reply_channel.encode(), usedforsecurity=False).hexdigest()[:29]


def session_for_reply_channel(reply_channel: str, channel_layer: ChannelLayer | None = None) -> SessionBase:
    """The channel session of a reply channel, loaded, whether or not it exists yet.

    A connection that keeps it is asked for it; changes are sent there by `save`. Other channels have a Django session,
    and with ``CHANNEL_SESSION_STORE = "database"`` all have; `open_database_session` says which.

    Args:
        reply_channel: the channel's name.
        channel_layer: its layer; the default one if not given.

    Raises:
        SessionUnavailable: the connection is gone, or its web server does not answer.
        ValueError: as `open_database_session`.
    """
    if uses_connections() and can_be_asked(reply_channel):
        layer = channel_layers[DEFAULT_CHANNEL_LAYER] if channel_layer is None else channel_layer
        session = _ask(layer, reply_channel)
        session.keys()
        return session
    return open_database_session(reply_channel)


def open_database_session(reply_channel: str) -> SessionBase:
    """The Django session of a reply channel, loaded, whether or not it exists yet.

    It is kept by ``CHANNEL_SESSION_ENGINE``, or by ``SESSION_ENGINE``.

    Raises:
        ValueError: that engine keeps sessions in cookies, which a channel does not have.
    """
    engine = getattr(settings, "CHANNEL_SESSION_ENGINE", settings.SESSION_ENGINE)
    if engine == "django.contrib.sessions.backends.signed_cookies":
        raise ValueError(
            "channel sessions cannot be kept in signed cookies; set CHANNEL_SESSION_ENGINE to another session "
            "engine, for example 'django.contrib.sessions.backends.db'"
        )
    key = session_key_for(reply_channel)
    session: SessionBase = import_module(engine).SessionStore(session_key=key)
    session.keys()  # loads it, which takes the key away from a session that does not exist
    give_key(session, key)
    return session


def open_channel_session(message: Message) -> SessionBase:
    """The channel session of a message, created if need be.

    A message that came from a connection with its turn brings the state that the connection keeps. For others with the
    same reply channel the connection is asked, when the session is first used.

    Raises:
        ConsumeLater: another consumer of this channel creates it at the same moment.
        ValueError: the message has no reply channel.
    """
    if not message.reply_channel:
        raise ValueError(
            f"the message on {message.channel.name!r} has no reply_channel; a channel session belongs to one"
        )
    name = message.reply_channel.name
    if uses_connections():
        if message.carries_state:
            return ConnectionSession(message, session_key_for(name), name)
        if can_be_asked(name):
            return _ask(message.channel_layer, name)
    session = open_database_session(name)
    if not session.exists(session_key_for(name)):
        try:
            session.save(must_create=True)
        except CreateError:
            raise ConsumeLater from None
    return session


def _ask(layer: ChannelLayer, reply_channel: str) -> ConnectionSession:
    return ConnectionSession(AskedState(layer, reply_channel), session_key_for(reply_channel), reply_channel)


def open_http_session(key: str | None) -> SessionBase | None:
    """The browser's session of a key, loaded on first use; ``None`` without a key.

    It can be changed, but neither made nor given another key: nobody would tell the browser.
    """
    return _existing(import_module(settings.SESSION_ENGINE).SessionStore)(session_key=key) if key else None


@functools.cache
def _existing(store: type[SessionBase]) -> type[SessionBase]:
    """A kind of session that keeps its key and is never made."""

    class ExistingSession(store):  # type: ignore[misc, valid-type]
        def save(self, must_create: bool = False) -> None:
            if self._is_there():
                super().save(must_create)

        async def asave(self, must_create: bool = False) -> None:
            if self._is_there():
                await super().asave(must_create)

        def create(self) -> None:
            give_key(self, None)

        async def acreate(self) -> None:
            self.create()

        def cycle_key(self) -> None:
            self.modified = True

        async def acycle_key(self) -> None:
            self.cycle_key()

        def _is_there(self) -> bool:
            if self.session_key is None:  # not found when it was loaded, or flushed
                logger.info("what a consumer changed in a browser's session is not saved: there is no such session")
            return self.session_key is not None

    ExistingSession.__name__ = ExistingSession.__qualname__ = store.__name__
    ExistingSession.__module__ = store.__module__
    return ExistingSession


def http_session_key(message: Message) -> str | None:
    """The session key that an HTTP request or a WebSocket handshake presents: ``?session_key=``, or its cookie.

    Raises:
        ValueError: the message is of neither kind.
    """
    content = message.content
    if "path" not in content:
        raise ValueError(
            f"the message on {message.channel.name!r} has no path; an HTTP session belongs to a request or a WebSocket"
        )
    query = content.get("query_string") or b""
    if query:
        text = query.decode("utf-8", "replace") if isinstance(query, bytes) else query
        given: list[str] | None = parse_qs(text, keep_blank_values=True).get("session_key")
        if given:
            return given[-1]
    for name, value in header_pairs(content):
        if name.lower() == b"cookie":
            key = parse_cookie(value.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
            if key is not None:
                return str(key)
    return None
