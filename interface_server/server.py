"""The server that hosts an `Application` on this package's own protocol classes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Generator, Sequence

import uvicorn

from .application import Application
from .endpoints import BACKLOG, Endpoint, address_of
from .http.protocol import HANDSHAKE_SECONDS, HttpProtocol
from .options import Options
from .sockets.connections import Connections
from .sockets.descriptors import shares

logger = logging.getLogger("interface_server.server")


class Server(uvicorn.Server):
    """A uvicorn server whose connections go to the application's gateway.

    uvicorn brings the event loop, the signals and `run`; ``should_exit = True`` stops it from any
    thread. It may run in a thread that is not the main one; then it installs no signal handlers.
    """

    def __init__(self, application: Application, endpoints: Sequence[Endpoint]) -> None:
        config = uvicorn.Config(
            application,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        super().__init__(config)
        self.addresses: list[str] = []
        self.servers: list[asyncio.Server] = []
        self._application = application
        self._endpoints = endpoints
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def bind(self) -> list[socket.socket]:
        """Open the listening sockets; raises `EndpointError`."""
        return [endpoint.bind() for endpoint in self._endpoints]

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped. Opens the endpoints unless it is given their sockets.

        Raises:
            EndpointError: an endpoint cannot be used.
        """
        super().run(self.bind() if sockets is None else sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        contexts = [endpoint.context() for endpoint in self._endpoints]
        contexts += [None] * (len(sockets or ()) - len(contexts))
        await self._application.startup()
        loop = asyncio.get_running_loop()
        self._open = Connections(
            shares(self._application.options.max_connections),
            pause=lambda: loop.call_soon(self._pause),
            resume=lambda: loop.call_soon(self._resume),
        )
        for listener, context in zip(sockets or (), contexts, strict=False):
            listener.setblocking(False)
            self._listeners.append((listener, context))
            self.addresses.append(address_of(listener, tls=context is not None))
        await self._listen()
        self.started = True
        logger.info("Listening on %s", ", ".join(self.addresses))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in named steps, together at most ``graceful_timeout`` seconds long."""
        logger.info("Stopping: accepting no more connections")
        listeners, self._listeners = self._listeners, []
        self._pause()
        for listener, _ in listeners:
            listener.close()
        self._remove_paths()
        logger.info("Stopping: closing %d connections", len(self._open))
        await self._application.shutdown(sockets=self._open, hurried=lambda: self.force_exit)
        logger.info("Stopped")

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM and SIGINT stop the server; the process then ends with status 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def _listen(self) -> None:
        """Accept connections, from where clients have waited since `_pause`, if they have."""
        loop = asyncio.get_running_loop()
        context = self._application.gateway.context
        for listener, tls in self._listeners:
            server = await loop.create_server(
                lambda: HttpProtocol(context, self._open),
                sock=listener.dup(),
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            )
            self.servers.append(server)
        if self._open.paused or not self._listeners:  # meanwhile
            self._pause()

    def _pause(self) -> None:
        """Accept nothing more. Clients wait with the system, since what is closed here is a duplicate."""
        servers, self.servers = self.servers, []
        for server in servers:
            server.close()

    def _resume(self) -> None:
        task = asyncio.get_running_loop().create_task(self._listen())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _remove_paths(self) -> None:
        for endpoint in self._endpoints:
            if endpoint.path is not None:
                with contextlib.suppress(OSError):
                    os.unlink(endpoint.path)


def build_server(
    application: Application,
    options: Options | None = None,
    endpoints: Sequence[Endpoint] = (Endpoint(),),
) -> Server:
    """A server for an application, ready to `run`.

    Args:
        application: what to host.
        options: if given, take the place of the application's.
        endpoints: where to listen.

    Returns:
        A `uvicorn.Server`: ``run(sockets=None)`` serves, in any thread; ``should_exit = True`` stops it;
        ``started`` and ``addresses`` tell when and where it listens.
    """
    if options is not None:
        application.options = options
    return Server(application, endpoints)
