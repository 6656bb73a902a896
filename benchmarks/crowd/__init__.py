"""The client: echoes, groups, idle sockets, handshakes, large bodies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """A load and its size.

    Attributes:
        kind: one of ``KINDS`` of the command.
        port: of the server.
        path: of the WebSockets or requests.
        sockets: how many, or how many at a time.
        seconds: how long.
        size: bytes of a message or of a body.
        browser: whether WebSockets that are opened beforehand have the headers of a browser, cookies among them.
    """

    kind: str
    port: int
    path: str = "/"
    sockets: int = 1
    seconds: float = 3.0
    size: int = 100
    browser: bool = False
