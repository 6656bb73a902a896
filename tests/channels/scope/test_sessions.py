"""`channels.scope.sessions`."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import SuspiciousOperation
from django.test import override_settings

from channels.sessions import SessionMiddleware, SessionMiddlewareStack

from ..coroutines import drive

pytestmark = pytest.mark.usefixtures("database")

Change = Callable[[Any], object]


@pytest.fixture
def browser() -> Any:
    """A session that a browser has."""
    session = SessionStore()
    session["seen"] = 1
    session.save()
    return session


def cookie(session: Any) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", f"sessionid={session.session_key}".encode())]


def respond(change: Change, *headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> Any:
    """Change the session and answer; return the cookie that the browser is told to have, or ``None``."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await sync_to_async(change)(scope["session"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    start, _ = drive(SessionMiddlewareStack(application), type="http", headers=list(headers), **more)
    found = [value.decode() for name, value in start["headers"] if name == b"Set-Cookie"]
    return SimpleCookie(found[0])["sessionid"] if found else None


def visit(session: Any) -> None:
    session["visits"] = session.get("visits", 0) + 1


def nothing(session: Any) -> None: ...


def test_the_browsers_session_is_read(browser: Any) -> None:
    seen: list[Any] = []
    assert respond(lambda session: seen.append(session["seen"]), *cookie(browser)) is None
    assert seen == [1]


def test_a_modified_session_is_saved_and_its_cookie_set(browser: Any) -> None:
    told = respond(visit, *cookie(browser))
    assert told.value == browser.session_key
    assert SessionStore(browser.session_key)["visits"] == 1
    assert (told["max-age"], told["path"], told["samesite"]) == ("1209600", "/", "Lax")
    assert told["httponly"]
    assert not told["secure"]


def test_a_new_session_is_made_for_a_browser_without_one() -> None:
    told = respond(visit)
    assert SessionStore(told.value)["visits"] == 1


def test_a_cookie_that_ends_with_the_browser_says_no_time() -> None:
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True, SESSION_COOKIE_SECURE=True):
        told = respond(visit)
    assert (told["max-age"], told["expires"], told["secure"]) == ("", "", True)


@pytest.mark.parametrize("samesite", ["Strict", "None", False])
def test_samesite_is_that_of_the_settings(samesite: Any) -> None:
    with override_settings(SESSION_COOKIE_SAMESITE=samesite):
        assert respond(visit)["samesite"] == (samesite or "")


def test_an_emptied_session_takes_the_cookie_along(browser: Any) -> None:
    told = respond(lambda session: session.flush(), *cookie(browser))
    assert (told.value, told["max-age"]) == ("", "0")
    assert not Session.objects.exists()


def test_an_emptied_session_of_nobody_leaves_nothing() -> None:
    assert respond(lambda session: session.flush()) is None
    assert not Session.objects.exists()


def test_a_session_is_saved_always_if_the_settings_say_so(browser: Any) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        assert respond(nothing, *cookie(browser)).value == browser.session_key


def test_nothing_is_saved_behind_a_failure(browser: Any) -> None:
    assert respond(visit, *cookie(browser), status=500) is None
    assert "visits" not in SessionStore(browser.session_key)


def test_a_session_that_was_deleted_meanwhile_is_not_made_again(browser: Any) -> None:
    def visit_and_lose(session: Any) -> None:
        visit(session)
        Session.objects.all().delete()

    with pytest.raises(SuspiciousOperation, match="The session was deleted before the request completed"):
        respond(visit_and_lose, *cookie(browser))


def test_a_session_from_further_out_is_left_to_it(browser: Any) -> None:
    outer = SessionStore()
    assert respond(visit, *cookie(browser), session=outer) is None
    assert outer["visits"] == 1
    assert not outer.session_key


def test_a_websocket_saves_nothing_by_itself(browser: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await sync_to_async(visit)(scope["session"])
        await send({"type": "websocket.accept"})

    drive(SessionMiddlewareStack(application), headers=cookie(browser))
    assert "visits" not in SessionStore(browser.session_key)


def test_it_needs_cookies() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match="found no cookies in the scope; put it inside a CookieMiddleware"):
        drive(SessionMiddleware(application))
