"""A server on a free port, clients, and a thread in place of the workers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from interface_server.application import Application
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from interface_server.server import Server, build_server
from tests.conftest import wait_until

CHANNELS = ["http.request", "http.disconnect", "websocket.connect", "websocket.receive", "websocket.disconnect"]

Consumer = Callable[["Workers", Delivery], None]


class Workers:
    """A thread that receives messages, records them, and has consumers answer them.

    Args:
        layer: where to receive.
        consumers: channel → consumer. A channel without one gets `accept`, `echo` or nothing.
    """

    def __init__(self, layer: Any, consumers: dict[str, Consumer] | None = None) -> None:
        self.layer = layer
        self.seen: list[Delivery] = []
        self._consumers = {"websocket.connect": accept, "websocket.receive": echo} | (consumers or {})
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reply(self, delivery: Delivery, message: dict[str, Any], **headers: Any) -> None:
        """Send to the reply channel, as the last reply of the turn if the message has one."""
        self.send(delivery, message, over=True, **headers)

    def send(self, delivery: Delivery, message: dict[str, Any], over: bool = False, **headers: Any) -> None:
        """Send to the reply channel; ``over`` ends the turn."""
        turn = (delivery.headers or {}).get("turn")
        if over and turn is not None:
            headers["turn"] = turn
        channel = delivery.message["reply_channel"]
        self.layer.send_batch([self.layer.prepare(channel, message, headers or None)])

    def on(self, channel: str) -> list[Delivery]:
        """What has arrived on a channel so far."""
        return [delivery for delivery in list(self.seen) if delivery.channel == channel]

    def wait_for(self, channel: str, count: int = 1) -> list[Delivery]:
        """Wait until so many messages have arrived on a channel."""
        return wait_until(lambda: found if len(found := self.on(channel)) >= count else None, f"{count} on {channel}")  # type: ignore[return-value]

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.layer.interrupt()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set():
            for delivery in self.layer.receive_batch(CHANNELS, limit=16, timeout=0.2):
                self.seen.append(delivery)
                consumer = self._consumers.get(delivery.channel)
                if consumer is not None:
                    consumer(self, delivery)


async def become(condition: Callable[[], object]) -> None:
    """Wait inside an event loop until the condition is true; the caller has a deadline."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event
        await asyncio.sleep(0.001)


def accept(workers: Workers, delivery: Delivery) -> None:
    """Accept a WebSocket."""
    workers.reply(delivery, {"accept": True})


def echo(workers: Workers, delivery: Delivery) -> None:
    """Send back what came."""
    workers.reply(delivery, {key: delivery.message[key] for key in ("text", "bytes") if key in delivery.message})


def silent(workers: Workers, delivery: Delivery) -> None:
    """Answer nothing."""


def respond(content: bytes = b"ok", status: int = 200, headers: Any = (), **more: Any) -> Consumer:
    """A consumer that answers a request with this."""

    def consumer(workers: Workers, delivery: Delivery) -> None:
        message = {"status": status, "headers": list(headers), "content": content, **more}
        workers.reply(delivery, message)

    return consumer


PARTS = [bytes([number]) * 500_000 for number in range(20)]
"""What `in_parts` answers with."""


def in_parts(produced: threading.Event, headers: Any = ()) -> Consumer:
    """A consumer that answers with `PARTS` and is at most three of them ahead of what has been written."""

    def consumer(workers: Workers, delivery: Delivery) -> None:
        sent = written = 0
        workers.send(delivery, {"status": 200, "headers": list(headers), "more_content": True}, flow="worker.a!1")
        for part in PARTS:
            while sent - written > 3 * len(part):
                for report in workers.layer.receive_batch(["worker.a!"], 16, 20):
                    written = report.message["written"]
            workers.send(delivery, {"content": part, "more_content": True})
            sent += len(part)
        workers.send(delivery, {"content": b"", "more_content": False})
        produced.set()

    return consumer


class Running:
    """A server in a thread.

    Attributes:
        port: where it listens on 127.0.0.1.
        layer: its channel layer.
        workers: the thread that stands for the workers.
    """

    def __init__(self, server: Server, layer: Any, workers: Workers, thread: threading.Thread) -> None:
        self.server, self.layer, self.workers, self.thread = server, layer, workers, thread
        self.port = int(server.addresses[0].rpartition(":")[2])

    @property
    def context(self) -> Any:
        """The parts that its connections share."""
        return self.server._application.gateway.context

    def connect(self) -> socket.socket:
        """A raw TCP connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        connection.settimeout(20)
        return connection

    def ask(self, request: bytes) -> bytes:
        """Send raw bytes and read until the server closes."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
            return read_all(connection)

    def get(self, path: str = "/", fields: str = "", method: str = "GET", body: bytes = b"") -> bytes:
        """One request on its own connection; the whole response."""
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n"
        return self.ask(head.encode("latin-1") + body)

    def url(self, path: str = "/") -> str:
        """Address for WebSocket clients."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def stop(self) -> None:
        """Stop the server and wait for its end."""
        self.server.should_exit = True
        self.thread.join(40)
        assert not self.thread.is_alive(), "the server does not stop"


def read_all(connection: socket.socket) -> bytes:
    """What comes until the end of the connection, however it ends."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


def status_of(response: bytes) -> int:
    """Status code of a raw response."""
    return int(response.split(b" ", 2)[1])


def body_of(response: bytes) -> bytes:
    """What follows the head of a raw response."""
    return response.partition(b"\r\n\r\n")[2]


def fields_of(response: bytes) -> dict[str, str]:
    """Header fields of a raw response."""
    head = response.partition(b"\r\n\r\n")[0].decode("latin-1")
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}


@contextlib.contextmanager
def running(
    consumers: dict[str, Consumer] | None = None,
    layer: Any = None,
    endpoint: Endpoint | None = None,
    workers_layer: Any = None,
    **options: Any,
) -> Iterator[Running]:
    """A server with these consumers and options, until the block ends; workers may have a layer of their own."""
    layer = MemoryChannelLayer() if layer is None else layer
    consumers = {"http.request": respond()} | (consumers or {})
    server = build_server(
        Application(layer, Options(**{"graceful_timeout": 3, **options})), endpoints=[endpoint or Endpoint(port=0)]
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server to listen")
    workers = Workers(layer if workers_layer is None else workers_layer, consumers)
    run = Running(server, layer, workers, thread)
    try:
        yield run
    finally:
        run.stop()
        workers.stop()


class Interceptor:
    """A proxy in front of Redis that cuts one connection when certain bytes come along.

    Args:
        url: of the server.

    Attributes:
        url: of the proxy.
        passes: whether the bytes that it waits for still reach the server; the answer never comes back.
    """

    def __init__(self, url: str) -> None:
        self._target = int(url.rpartition(":")[2].partition("/")[0])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._trigger: bytes | None = None
        self.passes = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._start(self._serve)

    def cut_at(self, trigger: bytes, passes: bool) -> None:
        """Cut the next connection on which these bytes come from its client."""
        self.passes, self._trigger = passes, trigger

    @property
    def has_cut(self) -> bool:
        """Whether it came to that."""
        return self._trigger is None

    def close(self) -> None:
        """Cut all connections and take no more."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._ends += (client, server)
                self._start(self._pass, client, server, True)
                self._start(self._pass, server, client, False)

    def _pass(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if asks and self._trigger is not None and self._trigger in data:
                    self._trigger = None
                    source.shutdown(socket.SHUT_RDWR)
                    if self.passes:
                        sink.sendall(data)
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
