"""Asking interface servers for ``http.disconnect`` after complete responses too, if a route wants it."""

from __future__ import annotations

import logging
import threading
import time

from channel_layer.channel import Message
from channel_layer.exceptions import ChannelLayerError

logger = logging.getLogger("channels.handler")

REPEAT_SECONDS = 60.0
"""Time for which a server counts as told. A note is lost if the connection that it went to has ended meanwhile."""


class RequestEnds:
    """Tells each interface server, with one of its requests, to send ``http.disconnect`` for every request.

    Servers send it for requests without a whole response only, as it costs a message for each request
    that few consumers want. Thread-safe.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def ask(self, message: Message) -> None:
        """Tell the server a request came from, unless that was done; returns when it cannot be overtaken any more."""
        reply_channel = message.reply_channel
        if reply_channel is None:
            return
        server = reply_channel.name.partition("!")[0]
        with self._lock:
            now = time.monotonic()
            if now < self._told.get(server, 0):
                return
            layer = message.channel_layer
            try:
                layer.send_batch([layer.prepare(reply_channel.name, {}, {"ends": True})])
            except ChannelLayerError as error:
                logger.warning("%s was not told that a route takes http.disconnect: %s", server, error)
                return
            self._told = {name: until for name, until in self._told.items() if until > now}
            self._told[server] = now + REPEAT_SECONDS
