"""Mistakes in applications: what the client sees, as in Channels 4, and what the log of the worker says."""

from __future__ import annotations

import logging
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from django.test import override_settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from channel_layer.memory import MemoryChannelLayer
from channels.configured_layers import ChannelLayerWrapper
from channels.test.layers import placed
from channels.test.live_parts import ServerPart, WorkerPart
from channels.test.live_threads import Threaded
from tests.conftest import wait_until

SECONDS = 60

AWAITS_NONE = "'NoneType' object can't be awaited" if sys.version_info >= (3, 14) else "object NoneType can't be used"
"""What Python says of a coroutine function that is none, and returns nothing."""


class Site:
    """The applications of `mistakes` behind a web server and a worker."""

    def __init__(self, port: int, lines: list[logging.LogRecord]) -> None:
        self.port = port
        self.lines = lines

    def text(self) -> str:
        """What processes have logged, with the last line of each traceback."""
        errors = (
            f"{line.getMessage()}: {line.exc_info[1]}" if line.exc_info else line.getMessage() for line in self.lines
        )
        return "\n".join(errors)

    def open(self, name: str) -> int | str:
        """Open a socket and send a frame; the status, the code it is closed with, or what it is sent."""
        try:
            with connect(f"ws://127.0.0.1:{self.port}/{name}/", close_timeout=1) as socket:
                socket.send("go")
                try:
                    said = str(socket.recv(SECONDS))
                    return said if name == "NobodyThere" else str(socket.recv(SECONDS))
                except ConnectionClosed:
                    assert socket.close_code is not None
                    return socket.close_code
        except InvalidStatus as error:
            return error.response.status_code

    def ask(self, name: str) -> int:
        """The status of a response."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}/", timeout=SECONDS) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    layer = ChannelLayerWrapper(MemoryChannelLayer(), "default", None)  # type: ignore[abstract]
    lines = Lines()
    loggers = [logging.getLogger(name) for name in ("workers", "channels", "interface_server")]
    for logger in loggers:
        logger.addHandler(lines)
    with override_settings(ASGI_APPLICATION="tests.channels.hosting.mistakes.application"), placed("default", layer):
        worker, server = Threaded(WorkerPart([layer], 2, False)), Threaded(ServerPart(layer, "127.0.0.1"))
        try:
            worker.wait_until_ready()
            yield Site(server.wait_until_ready(), lines.records)
        finally:
            server.stop()
            worker.stop()
            layer.close()
    for logger in loggers:
        logger.removeHandler(lines)


@pytest.fixture(autouse=True)
def fresh(site: Site) -> None:
    site.lines.clear()


@pytest.mark.parametrize(
    ("name", "outcome", "complaint"),
    [
        ("UnknownType", 1011, "No handler for message type no.such.handler in tests.channels.hosting.mistakes.Unknown"),
        ("PrivateType", 1011, "Malformed type in message (leading underscore)"),
        ("NeedsArguments", 500, "missing 1 required positional argument: 'room'"),
        ("Unserialisable", 1011, "object"),
        ("BadGroup", 1011, "Group name must be a valid unicode string"),
        ("SyncBadGroup", 1011, "Group name must be a valid unicode string"),
        ("BadChannel", 1011, "Channel name must be a valid unicode string"),
        ("NobodyThere", "no mistake", ""),
        ("UnknownEvent", 1011, "has sent 'websocket.shout', where it can send websocket.close, websocket.send"),
        ("NoText", 1011, "'text' of websocket.send is dict, it must be str"),
        ("BadCode", 1011, "7 is not a close code"),
        ("AcceptsTwice", 1011, "has sent 'websocket.accept', where it can send websocket.close, websocket.send"),
        ("SendsEarly", 500, "the socket has not been accepted"),
        ("BadHeader", 500, "header b'x-room' holds a control character"),
        ("RaisesInConnect", 500, "as it was asked to"),
        ("RaisesInDisconnect", 4000, "in disconnect"),
        ("Middleware", 500, "'token'"),
        ("returns", 500, "has returned without an answer to the handshake; its client gets 500"),
        ("returns_later", 1000, ""),
        ("is_plain", 500, AWAITS_NONE),
        ("nowhere", 500, "No route found for path 'nowhere/'."),
    ],
)
def test_a_websocket(site: Site, name: str, outcome: int | str, complaint: str) -> None:
    assert site.open(name) == outcome
    if complaint:
        wait_until(lambda: complaint in site.text(), f"a sentence in the log\n{site.text()}")
        assert f"the application behind /{name}/" in site.text()
    else:
        assert site.text() == ""


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("returns", "the application returned before its response was complete"),
        ("is_plain", AWAITS_NONE),
        ("raises", "as it was asked to"),
        ("begins_with_the_body", "http.response.body came before http.response.start"),
        ("breaks_a_header", "holds a control character"),
        ("nowhere", "No route found for path 'nowhere/'."),
    ],
)
def test_a_request(site: Site, name: str, complaint: str) -> None:
    assert site.ask(name) == 500
    wait_until(lambda: complaint in site.text(), f"a sentence in the log\n{site.text()}")
    assert f"/{name}/" in site.text()
