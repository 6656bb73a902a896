"""The application on a server that is not ours: uvicorn with its own protocol classes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from channel_layer.memory import MemoryChannelLayer
from interface_server.application import Application
from interface_server.options import Options
from tests.conftest import wait_until
from tests.interface_server.helpers import Consumer, Workers, respond


class Hosted:
    """A plain uvicorn server with the application on it."""

    def __init__(self, consumers: dict[str, Consumer], **options: Any) -> None:
        self.layer = MemoryChannelLayer()
        self.application = Application(self.layer, Options(**{"graceful_timeout": 2, **options}))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = uvicorn.Config(self.application, log_config=None, log_level="critical", ws="websockets-sansio",
                                timeout_graceful_shutdown=2)  # fmt: skip
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "uvicorn")
        self.workers = Workers(self.layer, {"http.request": respond(), **consumers})

    def request(self, method: str = "GET", body: bytes | None = None, **fields: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, "/p?q=1", body=body, headers=fields)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def url(self, path: str = "/chat") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def hosted(consumers: dict[str, Consumer] | None = None, **options: Any) -> Iterator[Hosted]:
    host = Hosted(consumers or {}, **options)
    try:
        yield host
    finally:
        host.server.should_exit = True
        host.thread.join(30)
        host.workers.stop()
