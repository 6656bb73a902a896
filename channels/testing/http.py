"""An HTTP client for tests of ASGI applications."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .application import ApplicationCommunicator, address


class HttpCommunicator(ApplicationCommunicator):
    """One request to an ASGI application.

    Args:
        application: the one to run.
        method: ``"GET"``, for example.
        path: may have a query.
        body: of the request.
        headers: pairs of bytes.

    Attributes:
        scope: may be added to before the request is sent.
    """

    def __init__(
        self,
        application: object,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        if not isinstance(body, bytes):
            raise TypeError(f"the body of a request is bytes, not {type(body).__name__}")
        self.body = body
        self.sent_request = False
        super().__init__(
            application,
            {
                "type": "http",
                "http_version": "1.1",
                "method": method.upper(),
                **address(path),
                "headers": list(headers or ()),
            },
        )

    async def get_response(self, timeout: float = 1) -> dict[str, Any]:
        """Send the request, the first time, and return the response: ``status``, ``headers`` and ``body``.

        Args:
            timeout: seconds to wait for each part.

        Raises:
            AssertionError: the application sent something that belongs elsewhere.
            TimeoutError: a part did not come in time.
        """
        if not self.sent_request:
            self.sent_request = True
            await self.send_input({"type": "http.request", "body": self.body})
        start = await self.receive_output(timeout)
        _expect(start, "http.response.start")
        body = bytearray()
        more = True
        while more:
            part = await self.receive_output(timeout)
            _expect(part, "http.response.body")
            body += part.get("body", b"")
            more = part.get("more_body", False)
        return {"headers": [], **{key: start[key] for key in start if key != "type"}, "body": bytes(body)}


def _expect(event: dict[str, Any], kind: str) -> None:
    if event["type"] != kind:
        raise AssertionError(f"Expected type {kind!r}, but was {event['type']!r}")
