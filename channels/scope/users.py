"""The user in a scope: who it is, and logging in and out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import auth
from django.utils.crypto import constant_time_compare
from django.utils.functional import LazyObject, empty

from channels.db import database_sync_to_async
from channels.middleware import BaseMiddleware
from channels.runtime.django_internals import fill_lazy, unwrapped
from channels.runtime.session_holder import SessionHolder

from .applications import Receive, Scope, Send, single_callable
from .cookies import CookieMiddleware
from .sessions import SessionMiddleware

MOST_NAME = 150
"""Characters of a user's name that operators see."""


def name_if_known(user: Any) -> str | None:
    """The name of a user who is logged in; ``None`` if that is not known, or not without a query."""
    if unwrapped(user) is empty:
        return None
    try:
        return str(user.get_username())[:MOST_NAME] if user.is_authenticated else None
    except AttributeError:  # an application may take anything for its users
        return None


def _session_of(scope: Scope) -> Any:
    if "session" not in scope:
        raise ValueError("Cannot find session in scope. You should wrap your consumer in SessionMiddleware.")
    return scope["session"]


@database_sync_to_async
def get_user(scope: Scope) -> Any:
    """Return the user that the session of a scope belongs to, or an ``AnonymousUser``.

    A session whose user has changed the password since is emptied, as a view would do.

    Raises:
        ValueError: the scope has no session.
    """
    session = _session_of(scope)
    holder = SessionHolder(session)
    user = auth.get_user(holder)  # type: ignore[arg-type]
    if holder.session.flushed:
        session.flush()
    return user


@database_sync_to_async
def login(scope: Scope, user: Any, backend: str | None = None) -> None:
    """Note a user in the session of a scope and as ``scope["user"]``. Save the session yourself in a WebSocket.

    What an anonymous session holds is kept; that of another user is dropped.

    Args:
        scope: with a session.
        user: the user; if it is ``None``, the scope's.
        backend: dotted path of the authentication backend; by default the user's, or the only one.

    Raises:
        ValueError: there is no session, no user, or a choice of backends.
    """
    session = _session_of(scope)
    user = scope.get("user") if user is None else user
    if user is None:
        raise ValueError("User must be passed as an argument or must be present in the scope.")
    auth_hash = user.get_session_auth_hash() if hasattr(user, "get_session_auth_hash") else ""
    backend = backend or getattr(user, "backend", None) or _only_backend()
    key = user._meta.pk.value_to_string(user)
    if auth.SESSION_KEY not in session:
        session.cycle_key()  # a key that somebody had before the login is not the one behind it
    elif session[auth.SESSION_KEY] != key or (
        auth_hash and not constant_time_compare(session.get(auth.HASH_SESSION_KEY, ""), auth_hash)
    ):
        session.flush()
    session[auth.SESSION_KEY] = key
    session[auth.BACKEND_SESSION_KEY] = backend
    session[auth.HASH_SESSION_KEY] = auth_hash
    scope["user"] = user
    auth.user_logged_in.send(sender=type(user), request=None, user=user)


@database_sync_to_async
def logout(scope: Scope) -> None:
    """Empty the session of a scope and make its user an ``AnonymousUser``.

    Raises:
        ValueError: the scope has no session.
    """
    from django.contrib.auth.models import AnonymousUser  # models want the apps to be ready

    session = _session_of(scope)
    user = scope.get("user")
    if user is not None and getattr(user, "is_authenticated", True):
        auth.user_logged_out.send(sender=type(user), request=None, user=user)
    session.flush()
    if "user" in scope:
        scope["user"] = AnonymousUser()


def _only_backend() -> str:
    if len(settings.AUTHENTICATION_BACKENDS) != 1:
        raise ValueError(
            "AUTHENTICATION_BACKENDS names several backends; "
            "pass `backend` to login, or set the user's attribute `backend`"
        )
    return str(settings.AUTHENTICATION_BACKENDS[0])


class UserLazyObject(LazyObject):  # type: ignore[type-arg]  # Django 4.2 cannot take it
    """A user that is not known yet."""

    def _setup(self) -> None:
        raise ValueError("Accessing scope user before it is ready.")


class AuthMiddleware(BaseMiddleware):
    """Gives the inner application ``scope["user"]``: who is logged in with the session, once per connection.

    A subclass may look elsewhere, in `resolve_scope`.

    Args:
        inner: the application to wrap; a `SessionMiddleware` is to be around this one.
    """

    def populate_scope(self, scope: Scope) -> None:
        """Put a user that is not known yet into the scope; raises `ValueError` if the scope has no session."""
        if "session" not in scope:
            raise ValueError("AuthMiddleware cannot find session in scope. SessionMiddleware must be above it.")
        if "user" not in scope:
            scope["user"] = UserLazyObject()

    async def resolve_scope(self, scope: Scope) -> None:
        """Find out who the user is, unless something further out has said so."""
        if isinstance(scope["user"], LazyObject):
            fill_lazy(scope["user"], await get_user(scope))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the inner application with a user in the copy of the scope."""
        scope = dict(scope)
        self.populate_scope(scope)
        await self.resolve_scope(scope)
        return await super().__call__(scope, receive, send)


def AuthMiddlewareStack(inner: object) -> CookieMiddleware:
    """Wrap an application for cookies, sessions and users."""
    return CookieMiddleware(SessionMiddleware(AuthMiddleware(single_callable(inner))))
