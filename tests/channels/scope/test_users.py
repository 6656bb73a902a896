"""`channels.scope.users`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, user_logged_in, user_logged_out
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import override_settings

from channels.auth import AuthMiddleware, AuthMiddlewareStack, UserLazyObject, get_user, login, logout
from channels.scope.users import name_if_known
from tests.test_house import ROOT

from ..coroutines import drive

pytestmark = pytest.mark.usefixtures("database")

BACKEND = "django.contrib.auth.backends.ModelBackend"
TWO = override_settings(AUTHENTICATION_BACKENDS=[BACKEND, "django.contrib.auth.backends.RemoteUserBackend"])


@pytest.fixture
def ada() -> Any:
    return User.objects.create_user("ada", password="x")


@pytest.fixture
def bob() -> Any:
    return User.objects.create_user("bob", password="x")


@pytest.fixture
def signals() -> Iterator[list[Any]]:
    """What was told of logins and logouts."""
    told: list[Any] = []

    def logged_in(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        told.append(("in", sender, request, user.username))

    def logged_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        told.append(("out", sender, request, user.username))

    user_logged_in.connect(logged_in)
    user_logged_out.connect(logged_out)
    yield told
    user_logged_in.disconnect(logged_in)
    user_logged_out.disconnect(logged_out)


def scope_with(**session: Any) -> dict[str, Any]:
    store = SessionStore()
    store.update(session)
    store.save()
    return {"session": store}


def user_of(scope: dict[str, Any]) -> Any:
    return asyncio.run(get_user(scope))


class TestLogin:
    def test_it_is_known_afterwards_and_told(self, ada: Any, signals: list[Any]) -> None:
        scope = scope_with()
        assert isinstance(user_of(scope), AnonymousUser)
        asyncio.run(login(scope, ada))
        assert scope["user"] == user_of(scope) == ada
        assert signals == [("in", User, None, "ada")]

    def test_the_user_may_be_the_scopes(self, ada: Any) -> None:
        scope = {**scope_with(), "user": ada}
        asyncio.run(login(scope, None))
        assert user_of(scope) == ada

    def test_what_an_anonymous_session_holds_is_kept_under_another_key(self, ada: Any) -> None:
        scope = scope_with(basket=3)
        key = scope["session"].session_key
        asyncio.run(login(scope, ada))
        assert scope["session"]["basket"] == 3
        assert scope["session"].session_key != key

    def test_another_users_session_is_dropped(self, ada: Any, bob: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        scope["session"]["basket"] = 3
        asyncio.run(login(scope, bob))
        assert user_of(scope) == bob
        assert "basket" not in scope["session"]

    def test_the_same_user_keeps_the_session(self, ada: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        scope["session"]["basket"] = 3
        asyncio.run(login(scope, ada))
        assert scope["session"]["basket"] == 3

    def test_it_needs_a_session_and_a_user(self, ada: Any) -> None:
        with pytest.raises(ValueError, match="Cannot find session in scope"):
            asyncio.run(login({}, ada))
        with pytest.raises(ValueError, match="User must be passed"):
            asyncio.run(login(scope_with(), None))

    def test_one_of_several_backends_has_to_be_named(self, ada: Any) -> None:
        scope = scope_with()
        with TWO:
            with pytest.raises(ValueError, match="names several backends; pass `backend` to login"):
                asyncio.run(login(scope, ada))
            asyncio.run(login(scope, ada, backend=BACKEND))
            assert user_of(scope) == ada
            ada.backend = BACKEND
            asyncio.run(login(scope_with(), ada))


class TestLogout:
    def test_nobody_is_known_afterwards(self, ada: Any, signals: list[Any]) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        signals.clear()
        asyncio.run(logout(scope))
        assert isinstance(scope["user"], AnonymousUser)
        assert isinstance(user_of(scope), AnonymousUser)
        assert SESSION_KEY not in scope["session"]
        assert signals == [("out", User, None, "ada")]

    @pytest.mark.parametrize("more", [{}, {"user": AnonymousUser()}])
    def test_of_nobody_is_not_told(self, more: dict[str, Any], signals: list[Any]) -> None:
        scope = {**scope_with(), **more}
        asyncio.run(logout(scope))
        assert signals == []
        assert ("user" in scope) is ("user" in more)

    def test_it_needs_a_session(self) -> None:
        with pytest.raises(ValueError, match="Cannot find session in scope"):
            asyncio.run(logout({}))


class TestGetUser:
    def test_it_needs_a_session(self) -> None:
        with pytest.raises(ValueError, match="Cannot find session in scope"):
            asyncio.run(get_user({}))

    def test_a_user_that_is_gone_is_nobody(self, ada: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        ada.delete()
        assert isinstance(user_of(scope), AnonymousUser)

    def test_a_session_from_before_a_change_of_password_is_emptied(self, ada: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        ada.set_password("y")
        ada.save()
        assert isinstance(user_of(scope), AnonymousUser)
        assert SESSION_KEY not in scope["session"]

    def test_a_session_of_a_former_secret_key_stays_as_it_is(self, ada: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        key, former = scope["session"].session_key, scope["session"][HASH_SESSION_KEY]
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
            assert user_of(scope) == ada
        assert (scope["session"].session_key, scope["session"][HASH_SESSION_KEY]) == (key, former)


class TestAuthMiddleware:
    def seen_by(self, wrap: Any, **scope: Any) -> Any:
        seen: list[Any] = []

        async def inner(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["user"])
            assert scope["user"].is_authenticated is not None  # no query is left to be made in the event loop

        drive(wrap(inner), **scope)
        return seen[0]

    def test_the_stack_finds_the_user_by_the_cookie(self, ada: Any) -> None:
        scope = scope_with()
        asyncio.run(login(scope, ada))
        scope["session"].save()
        cookie = (b"cookie", f"sessionid={scope['session'].session_key}".encode())
        assert self.seen_by(AuthMiddlewareStack, headers=[cookie]) == ada

    def test_without_a_cookie_it_is_nobody(self) -> None:
        user = self.seen_by(AuthMiddlewareStack)
        assert not user.is_authenticated
        assert not Session.objects.exists()

    def test_a_user_from_further_out_stays(self, ada: Any) -> None:
        assert self.seen_by(AuthMiddlewareStack, user=ada) is ada

    def test_a_subclass_may_look_elsewhere(self, ada: Any) -> None:
        class ByToken(AuthMiddleware):
            async def resolve_scope(self, scope: Any) -> None:
                scope["user"]._wrapped = ada

        assert self.seen_by(ByToken, session={}) == ada

    def test_it_needs_a_session(self) -> None:
        with pytest.raises(ValueError, match="SessionMiddleware must be above it"):
            self.seen_by(AuthMiddleware)

    def test_a_user_that_is_not_known_yet_says_so(self) -> None:
        with pytest.raises(ValueError, match="before it is ready"):
            UserLazyObject().username  # noqa: B018


def test_an_import_loads_no_models_and_no_settings() -> None:
    """A project's ``asgi.py`` imports these before the apps are ready."""
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'compat'}"
    script = (
        "import sys, channels.auth, channels.generic.http, channels.generic.websocket, channels.middleware,"
        "channels.routing, channels.security.websocket, channels.sessions, channels.testing, channels.worker;"
        "assert not {'django.contrib.auth.models', 'django.contrib.sessions.models'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)


def test_a_name_is_known_without_a_query_or_not_at_all(ada: Any) -> None:
    lazy = UserLazyObject()
    assert name_if_known(lazy) is None
    lazy._wrapped = ada
    assert name_if_known(lazy) == name_if_known(ada) == "ada"
    assert [name_if_known(other) for other in (None, AnonymousUser(), "ada", {"name": "ada"})] == [None] * 4
    assert name_if_known(User(username="x" * 200)) == "x" * 150
