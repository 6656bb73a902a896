"""The browser's session in a scope."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, ClassVar, TypeAlias

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.core.exceptions import SuspiciousOperation
from django.utils.functional import LazyObject
from django.utils.http import http_date

from channels.db import database_sync_to_async
from channels.runtime.django_internals import fill_lazy, loaded_session, unwrapped

from .applications import LEASE, Event, Receive, Scope, Send, single_callable
from .cookies import CookieMiddleware

SessionState: TypeAlias = tuple[str | None, dict[str, Any]]
"""State of a session that its connection has changed, so that the cookie of the handshake does not lead to it: the key
under which it is stored by now, if it is, and its content, saved or not."""


def changed_session(scope: Scope) -> SessionState | None:
    """The state of the session of a scope, or ``None`` if nobody has changed it. Reads nothing from the store."""
    session = scope.get("session")
    if session is None or not isinstance(session := unwrapped(session), SessionBase) or not session.modified:
        return None
    content = loaded_session(session)
    return None if content is None else (session.session_key, content)


def session_names(scope: Scope, user: Any) -> bool:
    """True if the session of a scope says that it belongs to a user, or to nobody. Reads nothing from the store."""
    session = scope.get("session")
    content = loaded_session(session) if isinstance(session, SessionBase) else None
    key = getattr(user, "pk", None)
    return content is not None and content.get(auth.SESSION_KEY) == (None if key is None else str(key))


class InstanceSessionWrapper:
    """The session of one connection: it is put into a copy of the scope, and saved by `send`.

    Args:
        scope: with cookies.
        send: the server's.

    Attributes:
        scope: the copy.
        activated: false if something further out has given the scope a session, and looks after it.
    """

    save_message_types: ClassVar[list[str]] = ["http.response.start"]
    """Types of events with which a modified session is saved."""

    cookie_response_message_types: ClassVar[list[str]] = ["http.response.start"]
    """Types of events that can carry the session's cookie."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.cookie_name = settings.SESSION_COOKIE_NAME
        self.session_store = import_module(settings.SESSION_ENGINE).SessionStore
        self.scope = dict(scope)
        self.real_send = send
        self.activated = "session" not in scope
        if self.activated:
            if "cookies" not in scope:
                raise ValueError("SessionMiddleware found no cookies in the scope; put it inside a CookieMiddleware")
            self.scope["session"] = LazyObject()

    async def resolve_session(self) -> None:
        """Make the session object, which reads its data when they are first asked for."""
        if self.activated:
            lease = (self.scope.get("extensions") or {}).get(LEASE)
            if lease is None or lease.session is None:
                session = self.session_store(self.scope["cookies"].get(self.cookie_name))
            else:
                session = await database_sync_to_async(self._go_on)(lease.session)
            fill_lazy(self.scope["session"], session)

    def _go_on(self, state: SessionState) -> SessionBase:
        """Make the session as the connection has left it in another process, unless it has been deleted meanwhile."""
        key, content = state
        session: SessionBase = self.session_store(key)
        session.get(auth.SESSION_KEY)  # loading one that is not there takes its key away
        if session.session_key == key:
            session.clear()
            session.update(content)
        return session

    async def send(self, message: Event) -> None:
        """Save the session if the event is one to do so with, and pass the event on.

        Raises:
            SuspiciousOperation: the session has been deleted meanwhile, by a logout for example.
        """
        if (
            self.activated
            and message["type"] in self.save_message_types
            and message.get("status", 200) != 500
            and (self.scope["session"].modified or settings.SESSION_SAVE_EVERY_REQUEST)
        ):
            carries_cookie = message["type"] in self.cookie_response_message_types
            if carries_cookie and self.scope["session"].is_empty():
                self._delete_cookie(message)
            else:
                await self.save_session()
                if carries_cookie:
                    self._set_cookie(message)
        await self.real_send(message)

    async def save_session(self) -> None:
        """Save the session; raises `SuspiciousOperation` if it has been deleted."""
        try:
            await database_sync_to_async(self.scope["session"].save)()
        except UpdateError:
            raise SuspiciousOperation(
                "The session was deleted before the request completed; its user may have logged out elsewhere."
            ) from None

    def _delete_cookie(self, message: Event) -> None:
        if self.cookie_name in self.scope["cookies"]:
            CookieMiddleware.delete_cookie(
                message, self.cookie_name, path=settings.SESSION_COOKIE_PATH, domain=settings.SESSION_COOKIE_DOMAIN
            )

    def _set_cookie(self, message: Event) -> None:
        session = self.scope["session"]
        age = None if session.get_expire_at_browser_close() else session.get_expiry_age()
        CookieMiddleware.set_cookie(
            message,
            self.cookie_name,
            session.session_key,
            max_age=age,
            expires=None if age is None else http_date(time.time() + age),
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=settings.SESSION_COOKIE_HTTPONLY,
            samesite=settings.SESSION_COOKIE_SAMESITE or None,
        )


class SessionMiddleware:
    """Gives the inner application ``scope["session"]``: the session that the browser has with Django's views.

    It is saved, and its cookie set, with the beginning of an HTTP response. A WebSocket has none: save there yourself.

    Args:
        inner: the application to wrap; a `CookieMiddleware` is to be around this one.
    """

    def __init__(self, inner: object) -> None:
        self.inner = single_callable(inner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the inner application; raises `ValueError` for a scope without cookies."""
        wrapper = InstanceSessionWrapper(scope, send)
        await wrapper.resolve_session()
        return await self.inner(wrapper.scope, receive, wrapper.send)


def SessionMiddlewareStack(inner: object) -> CookieMiddleware:
    """Wrap an application for cookies and sessions."""
    return CookieMiddleware(SessionMiddleware(single_callable(inner)))
