"""The interface server and the workers of a live test, to be run in threads or in processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from django.db import connections

from channel_layer.channel import Message
from channels.configured_layers import ChannelLayerWrapper
from channels.management.working import websocket_protocols
from channels.runtime.hooks import DjangoHook, project_hooks
from channels.runtime.sync_threads import SyncThreads
from channels.staticfiles import http_consumer
from interface_server.application import Application
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from interface_server.server import build_server
from workers import Worker
from workers.lifespan import StartupFailed

STOP_SECONDS = 5.0
"""Time to finish for responses and consumers that have begun when a test ends."""


class ServerPart:
    """An interface server on a free port.

    Args:
        layer: the wrapped layer it sends to.
        host: name or address to listen on.

    Attributes:
        port: the port it listens on, from the beginning.

    Raises:
        EndpointError: the host is not an address of this machine.
    """

    def __init__(self, layer: ChannelLayerWrapper, host: str) -> None:
        options = Options(graceful_timeout=STOP_SECONDS, subprotocols=websocket_protocols())
        application = Application(layer.channel_layer, options)
        self._server = build_server(application, endpoints=[Endpoint(host=host, port=0)])
        self._sockets = self._server.bind()
        self.port: int = self._sockets[0].getsockname()[1]

    def wait_until_ready(self) -> None:
        """Return at once: clients may connect from the beginning."""

    def run(self) -> None:
        """Serve until stopped; blocks."""
        self._server.run(self._sockets)

    def stop(self) -> None:
        """Have `run` return."""
        self._server.should_exit = True


class WorkerPart:
    """A worker for each layer.

    Args:
        layers: wrapped layers.
        threads: of each worker.
        serve_static: whether requests below STATIC_URL get what the finders of static files find.

    Raises:
        RoutingError: a route cannot work.
    """

    def __init__(self, layers: list[ChannelLayerWrapper], threads: int, serve_static: bool) -> None:
        consumer = http_consumer(static=serve_static, insecure=True)
        self._begun = [threading.Event() for _ in layers]
        self._failure: StartupFailed | None = None
        self._workers = [
            Worker(
                layer,
                layer.serve_http_with(consumer),
                threads=threads,
                hooks=project_hooks(_LiveHook(begun)),
                grace=STOP_SECONDS,
                signal_handlers=False,
                sync_side=SyncThreads(threads),
            )
            for layer, begun in zip(layers, self._begun, strict=True)
        ]

    def wait_until_ready(self) -> None:
        """Block until messages are taken; raises `StartupFailed` if an application refuses to start."""
        for begun in self._begun:
            begun.wait()
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """Work until stopped; blocks."""
        threads = [start(partial(self._work, *each)) for each in zip(self._workers, self._begun, strict=True)]
        for thread in threads:
            thread.join()

    def _work(self, worker: Worker, begun: threading.Event) -> None:
        try:
            worker.run()
        except StartupFailed as error:
            self._failure = error
        finally:
            begun.set()

    def stop(self) -> None:
        """Have `run` return when the running consumers have finished."""
        for worker in self._workers:
            worker.stop()


def start(target: Callable[[], object]) -> threading.Thread:
    """Run a function in a daemon thread."""
    thread = threading.Thread(target=target, name="live-test", daemon=True)
    thread.start()
    return thread


class _LiveHook(DjangoHook):
    """Closes all database connections, because the test flushes and drops the database at its end.

    Args:
        begun: set when messages are taken.
    """

    def __init__(self, begun: threading.Event) -> None:
        self._begun = begun

    def worker_ready(self, worker: object) -> None:
        """See `Hook.worker_ready`."""
        super().worker_ready(worker)
        self._begun.set()

    def after(self, message: Message, error: BaseException | None) -> None:
        """See `Hook.after`."""
        super().after(message, error)
        connections.close_all()
