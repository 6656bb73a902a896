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
from collections.abc import Iterator, Sequence

from channel_layer.event_loops import new_event_loop

from .application import Application
from .endpoints import BACKLOG, Endpoint, EndpointError, address_of
from .http.protocol import HANDSHAKE_SECONDS, HttpProtocol
from .options import Options
from .sockets.connections import Connections
from .sockets.descriptors import shares
from .takeover import systemd
from .takeover.estate import key_of
from .takeover.predecessor import Predecessor
from .takeover.successor import Succession, ask
from .takeover.systemd import SYSTEMD

logger = logging.getLogger("interface_server.server")


class Server:
    """Accepts connections for an application, until it is told to stop. Runs once.

    It may run in any thread; in the main one SIGTERM and SIGINT stop it.

    Args:
        application: what to serve.
        endpoints: where to listen.

    Attributes:
        started: whether it listens.
        addresses: where, as URLs.
    """

    def __init__(self, application: Application, endpoints: Sequence[Endpoint]) -> None:
        self.started = False
        self.addresses: list[str] = []
        self._application = application
        self._endpoints = endpoints
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._succession: Succession | None = None
        self._predecessor: Predecessor | None = None
        self._is_held = False
        self._is_handed_over = False
        self._leaves = False
        self._should_exit = False
        self._is_hurried = False

    @property
    def should_exit(self) -> bool:
        """True once it is to end. Set it, from any thread, to end the server."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        loop = self._loop
        if value and loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._end.set)

    def bind(self) -> list[socket.socket]:
        """Open the listening sockets; raises `EndpointError`."""
        succession = self._succession
        if succession is None:
            return [endpoint.bind() for endpoint in self._endpoints]
        return [succession.listener(endpoint) or endpoint.bind() for endpoint in self._endpoints]

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until stopped. Opens the endpoints unless it is given their sockets.

        Raises:
            EndpointError: an endpoint cannot be used.
            TakeoverError: another server is there, and does not hand over.
        """
        listening = self._take_over() if sockets is None else sockets
        runner = asyncio.Runner(loop_factory=new_event_loop)
        try:
            runner.run(self._serve(listening))
        finally:
            with contextlib.suppress(RuntimeError):  # an interpreter that ends starts no thread to wait for others
                runner.close()

    def _take_over(self) -> list[socket.socket]:
        """Take the place of an old server if there is one; return the listening sockets."""
        options = self._application.options
        if not options.takeover:
            return self.bind()
        layer = self._application.channel_layer
        self._succession = (
            systemd.inherit(layer, options) if options.takeover == SYSTEMD else ask(options.takeover, layer, options)
        )
        if self._succession is None:
            return self.bind()
        try:
            listening = self.bind()
            for endpoint in self._endpoints:
                endpoint.context()
        except EndpointError as error:
            self._succession.refuse(str(error))
            raise
        self._succession.confirm()
        return listening

    async def _serve(self, sockets: list[socket.socket]) -> None:
        self._loop = asyncio.get_running_loop()
        with self._signals():
            await self._start_up(sockets)
            if not self._should_exit:
                await self._end.wait()
            await self._shut_down()

    async def _start_up(self, sockets: list[socket.socket]) -> None:
        """Start the application, then listen."""
        contexts = [endpoint.context() for endpoint in self._endpoints]
        contexts += [None] * (len(sockets) - len(contexts))
        succession, options = self._succession, self._application.options
        await self._application.startup("" if succession is None else succession.estate.name)
        self._application.gateway.context.questions.end_process = self._end_for_operator
        loop = asyncio.get_running_loop()
        self._open = Connections(
            shares(options.max_connections, besides=0 if succession is None else succession.count),
            pause=lambda: loop.call_soon(self._pause),
            resume=lambda: loop.call_soon(self._resume),
        )
        for listener, context in zip(sockets, contexts, strict=False):
            listener.setblocking(False)
            self._listeners.append((listener, context))
            self.addresses.append(address_of(listener, tls=context is not None))
        if succession is not None:
            await succession.take_up(self._application.gateway, self._open)
        await self._listen()
        if options.takeover == SYSTEMD:
            if succession is not None:
                await asyncio.to_thread(systemd.forget)
            await asyncio.to_thread(systemd.say_ready)
        elif options.takeover:
            self._predecessor = Predecessor(options.takeover, self._application.gateway, _Holder(self))
        self.started = True
        logger.info("Listening on %s", ", ".join(self.addresses))

    async def _shut_down(self) -> None:
        """Stop in named steps, together at most ``graceful_timeout`` seconds long."""
        if self._predecessor is not None:
            await self._predecessor.close()
        self._application.drain()
        logger.info("Stopping: accepting no more connections")
        self._pause()
        if self._leaves and self._application.options.takeover == SYSTEMD:
            seconds = self._application.options.graceful_timeout
            gateway, hurried = self._application.gateway, lambda: self._is_hurried
            self._is_handed_over = await systemd.leave(gateway, _Holder(self), seconds, hurried)
        listeners, self._listeners = self._listeners, []
        for listener, _ in listeners:
            listener.close()
        if not self._is_handed_over:
            self._remove_paths()
        logger.info("Stopping: closing %d connections", len(self._open))
        await self._application.shutdown(sockets=self._open, hurried=lambda: self._is_hurried)
        for other in (self._predecessor, self._succession):
            if other is not None:
                other.end()
        logger.info("Stopped")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have SIGTERM and SIGINT stop the server, in the main thread, and restore what they did before."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                if handler is not None:  # it was set from Python
                    signal.signal(number, handler)

    def _on_signal(self, number: int) -> None:
        """Stop; a second Ctrl-C waits for nothing any more."""
        self._is_hurried |= self._should_exit and number == signal.SIGINT
        self._leaves = number == signal.SIGTERM
        self.should_exit = True

    def _end_for_operator(self) -> None:
        self.should_exit = True

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
            self._servers.append(server)
        if self._open.paused or self._is_held or not self._listeners:  # meanwhile
            self._pause()

    def _pause(self) -> None:
        """Accept nothing more. Clients wait with the system, since what is closed here is a duplicate."""
        servers, self._servers = self._servers, []
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


class _Holder:
    """The server as a takeover sees it; see `Holder`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.connections = server._open
        keys = [key_of(endpoint) for endpoint in server._endpoints]
        self.listeners = [(key, listener) for key, (listener, _) in zip(keys, server._listeners, strict=False)]

    @property
    def stopping(self) -> bool:
        return self._server._should_exit

    def pause(self) -> None:
        self._server._is_held = True
        self._server._pause()

    def resume(self) -> None:
        self._server._is_held = False
        if not self._server._open.paused:
            self._server._resume()

    def handed_over(self) -> None:
        self._server._is_handed_over = True
        self._server.should_exit = True


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
        A `Server`: ``run(sockets=None)`` serves, in any thread; ``should_exit = True`` stops it; ``started`` and
        ``addresses`` tell when and where it listens.
    """
    if options is not None:
        application.options = options
    return Server(application, endpoints)
