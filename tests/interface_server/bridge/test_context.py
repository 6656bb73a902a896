from __future__ import annotations

import re

from interface_server.http.exchange import HttpExchange
from interface_server.websocket.connection import WebSocketConnection
from tests.interface_server.fakes import FakeSocket, FakeWriter, QuietContext, scope


def test_reply_channels_cannot_be_guessed() -> None:
    names = {QuietContext().name for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"daphne\.[\w-]{16}!", name) for name in names)
    context = QuietContext()
    requests = {HttpExchange(context, scope(), FakeWriter()).channel for _ in range(100)}
    sockets = {WebSocketConnection(context, scope("websocket"), FakeSocket()).channel for _ in range(100)}
    assert len(requests | sockets) == 200
    assert all(re.fullmatch(re.escape(context.name) + r"[\w-]{16}", name) for name in requests)
    assert all(re.fullmatch(re.escape(context.name) + r"s\.[\w-]{16}", name) for name in sockets)
