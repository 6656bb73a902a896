"""Cookies of a scope, and on the way out."""

from __future__ import annotations

import datetime
from typing import Any

from django.http import HttpResponse, parse_cookie
from django.utils.encoding import force_str

from .applications import Event, Receive, Scope, Send, single_callable

_SAME_SITE = ("strict", "lax", "none")


class CookieMiddleware:
    """Gives the inner application ``scope["cookies"]``: a dict as Django's ``request.COOKIES``.

    Args:
        inner: the application to wrap.
    """

    def __init__(self, inner: object) -> None:
        self.inner = single_callable(inner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the inner application; raises `ValueError` for a scope without headers."""
        if "headers" not in scope:
            raise ValueError(
                f"CookieMiddleware got a scope of type {scope.get('type')!r}, which has no headers; "
                "put it around applications for http and websocket only"
            )
        header = next((value for name, value in scope["headers"] if name == b"cookie"), None)
        cookies = {} if header is None else parse_cookie(header.decode("latin-1"))
        return await self.inner({**scope, "cookies": cookies}, receive, send)

    @classmethod
    def set_cookie(
        cls,
        message: Event,
        key: str,
        value: Any = "",
        max_age: int | datetime.timedelta | None = None,
        expires: str | datetime.datetime | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = False,
        httponly: bool | None = False,
        samesite: str | None = "lax",
    ) -> None:
        """Add a cookie to the headers of an ``http.response.start``.

        Args:
            message: the event; its list of headers is added to.
            key, value, max_age, expires, path, domain, secure, httponly: see Django's ``HttpResponse.set_cookie``.
            samesite: ``"strict"``, ``"lax"`` or ``"none"`` in any case; nothing is said about it for ``None``.

        Raises:
            AssertionError: for another ``samesite``.
        """
        if samesite is not None and samesite.lower() not in _SAME_SITE:
            # The class of the exception is part of the interface; an assert statement would go with python -O.
            raise AssertionError(f"samesite is one of {', '.join(_SAME_SITE)}, not {samesite!r}")
        response = HttpResponse()
        response.set_cookie(
            key,
            force_str(value),
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=bool(secure),
            httponly=bool(httponly),
        )
        if samesite is not None:
            response.cookies[key]["samesite"] = samesite
        header = response.cookies[key].OutputString().encode("utf-8")
        message["headers"] = [*message.get("headers", ()), (b"Set-Cookie", header)]

    @classmethod
    def delete_cookie(cls, message: Event, key: str, path: str = "/", domain: str | None = None) -> None:
        """Have the browser forget a cookie."""
        cls.set_cookie(message, key, max_age=0, expires="Thu, 01-Jan-1970 00:00:00 GMT", path=path, domain=domain)
