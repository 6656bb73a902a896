"""The ASGI 3 application that turns connections into messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.layer import ChannelLayer

from .asgi.http import serve_http
from .asgi.outbox import Receive, Send
from .asgi.websocket import serve_websocket
from .bridge.messages import Scope, clean_headers
from .gateway import Gateway
from .monitor import Monitor
from .options import Options
from .reaching import areach
from .stopping import Stopping

CLOSE_SECONDS = 0.5
"""Of the time to stop, what the channel layer may use to let go of its connections."""


class Application:
    """Carries HTTP and WebSocket connections over a channel layer.

    It can be hosted by any ASGI 3 server. ``daphne`` hosts it on protocol classes of its own, which hand
    their connections to the gateway directly; both ways keep the same rules.

    One object serves one event loop at a time. It begins with the lifespan events, or with the first
    connection on a server that does not send them.

    Args:
        channel_layer: any channel layer.
        options: limits and times; the defaults if left out.
    """

    def __init__(self, channel_layer: ChannelLayer, options: Options | None = None) -> None:
        self.channel_layer = channel_layer
        self.options = options if options is not None else Options()
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3 entry point."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "http":
            await serve_http(self.gateway.context, _cleaned(scope), receive, send)
        elif kind == "websocket":
            await serve_websocket(self.gateway.context, _cleaned(scope), receive, send)
        else:
            raise ValueError(f"no ASGI connection of type {kind!r} is served here; http, websocket and lifespan are")

    @property
    def gateway(self) -> Gateway:
        """The gateway of the running event loop. It starts when it is first asked for."""
        if self._gateway is None:
            self._gateway = Gateway(self.channel_layer, self.options)
        if not self._gateway.started:
            self._gateway.start()
        return self._gateway

    async def startup(self, name: str = "") -> None:
        """Begin to carry messages.

        Args:
            name: of the process whose place this one takes. Its messages are received from `Gateway.go_on` on.
        """
        if name:
            self._gateway = Gateway(self.channel_layer, self.options, name)
            self._gateway.start(reading=False)
        _ = self.gateway

    def drain(self) -> None:
        """Let whoever asks know that this process is about to end, before anything of it is closed."""
        if self._gateway is not None:
            self._gateway.context.draining = True

    @property
    def monitor(self) -> Monitor | None:
        """Health and metrics of the running event loop; ``None`` while there is none."""
        return None if self._gateway is None else self._gateway.monitor

    async def shutdown(
        self,
        seconds: float | None = None,
        sockets: Collection[Any] = (),
        hurried: Callable[[], bool] = lambda: False,
    ) -> None:
        """Close every WebSocket with 1012, let requests finish, send what is left; see `Stopping`.

        With ``sockets``, those of a server of this package, ``drain_seconds`` come before.
        """
        gateway = self._gateway
        if gateway is None:
            return
        loop = asyncio.get_running_loop()
        limit = self.options.graceful_timeout if seconds is None else seconds
        stopping = Stopping(
            gateway.context, limit - min(CLOSE_SECONDS, limit / 10), sockets, hurried, self.options.drain_seconds
        )
        try:
            await stopping.run()
        finally:
            self._gateway = None
            await gateway.close(max(CLOSE_SECONDS / 5, stopping.began + limit - loop.time()))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                try:
                    await areach(self.channel_layer)
                except LayerConfigurationError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await self.startup()
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                await asyncio.shield(self.shutdown())
                await send({"type": "lifespan.shutdown.complete"})
                return


def _cleaned(scope: Scope) -> Scope:
    cleaned = dict(scope)
    cleaned["headers"] = clean_headers(scope["headers"])
    for end in ("client", "server"):
        if scope.get(end):
            host, port = scope[end]
            cleaned[end] = (host, None if port is None else int(port))  # some servers give the port as text
    return cleaned
