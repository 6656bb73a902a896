"""`Server`: any ASGI 3 application in this process, as Channels 2 to 4 serve it. For tests and embedding.

``daphne`` on the command line is another thing: it holds the connections and leaves the application to workers.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from interface_server.endpoints import Endpoint
from workers.lifespan import Lifespan

__all__ = ["Server"]

logger = logging.getLogger(__name__)


class Server:
    """Serves an application in this process and its only thread. Needs the package ``uvicorn``.

    Attributes:
        listening_addresses: host and port of each TCP endpoint, once it listens.

    Args:
        application: an ASGI 3 application.
        endpoints: where to listen, as ``tcp:port=8000:interface=127.0.0.1``, ``unix:/path`` or ``fd:fileno=3``.
        signal_handlers: stop on SIGTERM and SIGINT.
        ping_interval, ping_timeout: seconds between pings of a WebSocket, and until its pong.
        root_path: where the application is mounted.
        proxy_forwarded_address_header: take the client from ``X-Forwarded-For`` of this machine's proxy, if set.
        ready_callable: called once the server listens.
        server_name: for the field ``server`` of responses.
        others: further arguments of daphne 4; they have no effect.

    Raises:
        ValueError: there are no endpoints.
        EndpointError: one of them is none.
    """

    def __init__(
        self,
        application: Any,
        endpoints: Sequence[str] | None = None,
        signal_handlers: bool = True,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 30,
        root_path: str = "",
        proxy_forwarded_address_header: str | None = None,
        ready_callable: Callable[[], Any] | None = None,
        server_name: str = "daphne",
        **others: Any,
    ) -> None:
        if not endpoints:
            raise ValueError("a server without endpoints listens nowhere; give it for example ['tcp:port=8000']")
        self.application = application
        self.endpoints = [Endpoint.parse(str(text)) for text in endpoints]
        self.signal_handlers = signal_handlers
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.root_path = root_path
        self.trusts_proxy = bool(proxy_forwarded_address_header)
        self.ready_callable = ready_callable
        self.server_name = server_name
        self.listening_addresses: list[tuple[str, int]] = []
        self._running: Any = None
        self._stopped = False

    def run(self) -> None:
        """Serve until it is told to stop; blocks.

        Raises:
            RuntimeError: uvicorn is not installed.
            StartupFailed: the application has refused to start.
            EndpointError: an endpoint cannot be listened on.
        """
        try:
            import uvicorn
        except ImportError:
            raise RuntimeError(
                "daphne.server serves applications in this process with uvicorn, which is not installed; "
                "pip install uvicorn, or start the daphne command and manage.py runworker"
            ) from None
        server = self

        class Life:
            """A `Lifespan` as uvicorn wants it, whose own waits for ever for applications that know nothing of it."""

            should_exit = False

            def __init__(self, config: uvicorn.Config) -> None:
                self._lifespan = Lifespan(server.application)
                self.state = self._lifespan.state
                self.startup, self.shutdown = self._lifespan.start, self._lifespan.stop

        class Running(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                with super().capture_signals() if server.signal_handlers else contextlib.nullcontext():
                    yield

            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                if self.started and server.ready_callable is not None:
                    server.ready_callable()

        config = uvicorn.Config(
            self.application,
            ws="websockets-sansio",
            ws_ping_interval=self.ping_interval,
            ws_ping_timeout=self.ping_timeout,
            root_path=self.root_path,
            proxy_headers=self.trusts_proxy,
            server_header=False,
            headers=[("server", self.server_name)],
            log_config=None,
            access_log=False,
        )
        config.load()
        config.lifespan_class = Life
        sockets = [endpoint.bind() for endpoint in self.endpoints]
        self.listening_addresses = [found.getsockname()[:2] for found in sockets if found.family.name != "AF_UNIX"]
        self._running = Running(config)
        self._running.should_exit = self._stopped
        self._running.run(sockets)

    def stop(self) -> None:
        """Have `run` return; callable from any thread."""
        self._stopped = True
        if self._running is not None:
            self._running.should_exit = True
