"""`channels.scope.cookies`."""

from __future__ import annotations

import asyncio
import datetime
from http.cookies import SimpleCookie
from typing import Any

import pytest

from channels.sessions import CookieMiddleware

from ..coroutines import drive


def cookies_of(*headers: tuple[bytes, bytes]) -> Any:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["cookies"])

    drive(CookieMiddleware(inner), headers=list(headers))
    return seen[0]


def set_cookie(**arguments: Any) -> Any:
    """What a browser reads in the header."""
    message: dict[str, Any] = {"type": "http.response.start"}
    CookieMiddleware.set_cookie(message, "seen", **arguments)
    ((name, value),) = message["headers"]
    assert name == b"Set-Cookie"
    return SimpleCookie(value.decode("utf-8"))["seen"]


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [
        ([], {}),
        ([(b"cookie", b"a=1; b=two")], {"a": "1", "b": "two"}),
        ([(b"host", b"x"), (b"cookie", b"a=\xe4")], {"a": "ä"}),
    ],
)
def test_cookies_are_read(headers: Any, cookies: dict[str, str]) -> None:
    assert cookies_of(*headers) == cookies


def test_a_scope_without_headers_is_refused() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match="a scope of type 'channel', which has no headers"):
        asyncio.run(CookieMiddleware(inner)({"type": "channel"}, None, None))  # type: ignore[arg-type]


def test_a_cookie_is_for_the_whole_site_and_lax_by_default() -> None:
    cookie = set_cookie(value="yes")
    assert (cookie.value, cookie["path"], cookie["samesite"]) == ("yes", "/", "lax")
    assert not cookie["secure"]
    assert not cookie["httponly"]
    assert not cookie["max-age"]


def test_its_attributes_are_passed_on() -> None:
    cookie = set_cookie(max_age=60, path="/chat/", domain="example.com", secure=True, httponly=True, samesite="Strict")
    assert (cookie["max-age"], cookie["path"], cookie["domain"], cookie["samesite"]) == (
        "60",
        "/chat/",
        "example.com",
        "Strict",
    )
    assert (cookie["secure"], cookie["httponly"]) == (True, True)


def test_it_expires_at_a_time() -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    cookie = set_cookie(expires=then)
    assert int(cookie["max-age"]) in range(172_700, 172_802)
    assert set_cookie(expires="Thu, 01-Jan-1970 00:00:00 GMT")["expires"] == "Thu, 01-Jan-1970 00:00:00 GMT"


def test_nothing_is_said_of_samesite_for_none() -> None:
    assert set_cookie(samesite=None)["samesite"] == ""


def test_another_samesite_is_refused() -> None:
    with pytest.raises(AssertionError, match="samesite is one of strict, lax, none, not 'any'"):
        set_cookie(samesite="any")


def test_other_headers_stay() -> None:
    message = {"type": "http.response.start", "headers": ((b"x-a", b"1"),)}
    CookieMiddleware.set_cookie(message, "seen", "yes")
    assert [name for name, _ in message["headers"]] == [b"x-a", b"Set-Cookie"]


def test_a_cookie_is_deleted_by_one_that_has_expired() -> None:
    message: dict[str, Any] = {"type": "http.response.start"}
    CookieMiddleware.delete_cookie(message, "seen", path="/chat/", domain="example.com")
    cookie = SimpleCookie(message["headers"][0][1].decode())["seen"]
    assert (cookie.value, cookie["max-age"], cookie["path"], cookie["domain"]) == ("", "0", "/chat/", "example.com")
    assert cookie["expires"].startswith("Thu, 01")
