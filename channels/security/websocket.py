"""Checks of where a WebSocket was opened from, as in Channels 2 to 4: ASGI applications around others.

Those of Channels 1 are in `channels.security.websockets`, which says what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import ParseResult, urlparse

from django.conf import settings
from django.utils.http import is_same_domain

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.scope.applications import Receive, Scope, Send, single_callable

__all__ = ["AllowedHostsOriginValidator", "OriginValidator", "WebsocketDenier"]

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class OriginValidator:
    """Lets WebSockets of certain origins through to an application; others get HTTP 403.

    A pattern is a domain (``example.com``), a domain and all below it (``.example.com``), either with a scheme and
    perhaps a port (``https://.example.com:8443``, or ``:*`` for any), or ``*`` for all. A pattern with a scheme stands
    for the scheme's usual port if it names none.

    Args:
        application: the one to wrap.
        allowed_origins: the patterns.
    """

    def __init__(self, application: object, allowed_origins: Iterable[str]) -> None:
        self.application = single_callable(application)
        self.allowed_origins = allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the application or reject the connection; raises `ValueError` for a scope of another type."""
        if scope["type"] != "websocket":
            raise ValueError(
                f"You cannot use OriginValidator on a non-WebSocket connection, which is of type {scope['type']!r}"
            )
        application = self.application if self.valid_origin(_origin_of(scope)) else WebsocketDenier()
        return await application(scope, receive, send)

    def valid_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Tell if the origin of a connection, ``None`` if it names none, may come in."""
        if parsed_origin is None and "*" not in self.allowed_origins:
            return False
        return self.validate_origin(parsed_origin)

    def validate_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Tell if one of the patterns is that of the origin."""
        return any(
            pattern == "*" or self.match_allowed_origin(parsed_origin, pattern) for pattern in self.allowed_origins
        )

    def match_allowed_origin(self, parsed_origin: ParseResult | None, pattern: str) -> bool:
        """Tell if a pattern is that of the origin."""
        if parsed_origin is None or not parsed_origin.hostname:
            return False
        any_port = pattern.endswith(":*")
        parsed_pattern = urlparse(pattern.removesuffix(":*").lower())
        if not parsed_pattern.scheme:
            return is_same_domain(parsed_origin.hostname, urlparse(f"//{pattern}").hostname or pattern)
        return bool(
            parsed_pattern.scheme == parsed_origin.scheme
            and (any_port or self.get_origin_port(parsed_pattern) == self.get_origin_port(parsed_origin))
            and is_same_domain(parsed_origin.hostname, parsed_pattern.hostname or "")
        )

    def get_origin_port(self, origin: ParseResult) -> int | None:
        """Return the port of an origin, or the usual one of its scheme; ``None`` if that is unknown."""
        return origin.port if origin.port is not None else _PORTS.get(origin.scheme)


def AllowedHostsOriginValidator(application: object) -> OriginValidator:
    """Let through the hosts in ALLOWED_HOSTS; with DEBUG and an empty list, those on this machine."""
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = ["localhost", "127.0.0.1", "[::1]"]
    return OriginValidator(single_callable(application), allowed)


class WebsocketDenier(AsyncWebsocketConsumer):
    """Rejects every connection."""

    async def connect(self) -> None:
        """Reject it."""
        await self.close()


def _origin_of(scope: Scope) -> ParseResult | None:
    """The Origin header; ``None`` if there is none, or one that is not an address."""
    for name, value in reversed(scope.get("headers", ())):
        if name == b"origin":
            try:
                origin: ParseResult = urlparse(value.decode("latin-1"))
                origin.port  # noqa: B018 (raises for a port that is not a number)
            except ValueError:
                return None
            return origin
    return None
