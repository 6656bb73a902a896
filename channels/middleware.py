"""The base of middleware around ASGI applications."""

from __future__ import annotations

from .scope.applications import Receive, Scope, Send, single_callable

__all__ = ["BaseMiddleware"]


class BaseMiddleware:
    """An ASGI application around another one, which gets a copy of the scope.

    One instance serves all connections: what belongs to one of them goes into its scope, not onto ``self``.

    Args:
        inner: the application to wrap.
    """

    def __init__(self, inner: object) -> None:
        self.inner = single_callable(inner)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the inner application with a copy of the scope."""
        return await self.inner(dict(scope), receive, send)
