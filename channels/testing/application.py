"""The server's side of an ASGI application, in a test."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from asgiref import testing

from channels.scope.applications import Event, Scope, single_callable


class ApplicationCommunicator(testing.ApplicationCommunicator):
    """Runs an ASGI application as a task, sends events to it and takes those that it sends.

    Args:
        application: the one to run.
        scope: what to run it with.
    """

    _future: Any = None  # what the base class looks at even when making an instance has failed

    def __init__(self, application: object, scope: Scope) -> None:
        super().__init__(single_callable(application), scope)  # type: ignore[no-untyped-call]

    async def send_input(self, message: Event) -> None:
        """Send an event to the application; raises what the application has raised, if it has."""
        await super().send_input(message)  # type: ignore[no-untyped-call]

    async def receive_output(self, timeout: float = 1) -> Event:
        """Return the next event that the application sends.

        Args:
            timeout: seconds to wait for it; then the application is cancelled.

        Raises:
            TimeoutError: it sent none in time.
        """
        event: Event = await super().receive_output(timeout)  # type: ignore[no-untyped-call]
        return event

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Tell if the application sends nothing for a time.

        Args:
            timeout: the time, in seconds.
            interval: seconds between two looks.
        """
        nothing: bool = await super().receive_nothing(timeout, interval)  # type: ignore[no-untyped-call]
        return nothing

    async def wait(self, timeout: float = 1) -> None:
        """Wait for the application to end, and raise what it raised.

        Args:
            timeout: seconds to wait; then it is cancelled.
        """
        await super().wait(timeout)  # type: ignore[no-untyped-call]


def address(path: str) -> dict[str, Any]:
    """The keys of a scope that say where a request goes, for a path with or without a query, or a whole URL."""
    parts = urlsplit(path)
    return {"path": unquote(parts.path), "query_string": parts.query.encode("utf-8")}
