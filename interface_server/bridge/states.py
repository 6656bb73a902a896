"""State that connections keep for their consumers, and who asks for it.

The end of a turn brings changes, and the next message takes the state along. Consumers of other messages with the
same reply channel ask for it. They may be late: what a closed connection kept stays for as long as a message may wait
on a channel, within bounds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from channel_layer.delivery import Content, Headers
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.state import merged, size_of

from .uplink import Uplink

logger = logging.getLogger("interface_server.websocket")

State = Mapping[str, bytes]

MOST_BYTES = 16_777_216
"""Limit for the states of closed connections; beyond it the oldest are dropped."""

_OVERHEAD = 256


class States:
    """Changes states, answers who asks for them, and keeps those of closed connections for a while.

    Args:
        layer: any channel layer.
        uplink: takes the answers.
        limit: bytes that a state may have.
    """

    def __init__(self, layer: ChannelLayer, uplink: Uplink, limit: int) -> None:
        self._layer = layer
        self._uplink = uplink
        self._limit = limit
        self._closed: dict[str, tuple[float, State | None]] = {}
        self._bytes = 0

    def hear(self, state: State | None, headers: Headers, name: str) -> State | None:
        """Carry out changes, and answer a question; returns the state from now on."""
        if "state" in headers:
            try:
                state = merged(state, headers["state"], self._limit) or None
            except ValueError as error:
                logger.error("the state of the WebSocket %s was not kept: %s", name, error)
        if "ask" in headers:
            self._answer(headers["ask"], {}, {"state": state or {}})
        return state

    def leave(self, local: str, state: State | None, now: float) -> None:
        """A connection has closed."""
        self._closed[local] = (now + self._layer.expiry, state)
        self._bytes += _cost(state)
        while self._bytes > MOST_BYTES:
            self._forget(next(iter(self._closed)))

    def hear_late(self, local: str, headers: Headers) -> None:
        """Something for a connection that has closed, or never was."""
        kept = self._closed.get(local)
        if kept is not None:
            until, before = kept
            state = self.hear(before, headers, local)
            self._closed[local] = (until, state)
            self._bytes += _cost(state) - _cost(before)
        elif "ask" in headers:
            self._answer(headers["ask"], {"closed": True}, None)

    def kept(self) -> list[tuple[str, float, State | None]]:
        """The states of closed connections, and until when they are kept; see `keep`."""
        return [(local, until, state) for local, (until, state) in self._closed.items()]

    def keep(self, kept: Iterable[tuple[str, float, State | None]]) -> None:
        """Take over what another process has kept. The clock of the event loop is the machine's."""
        for local, until, state in kept:
            self._closed[local] = (until, state)
            self._bytes += _cost(state)

    def tick(self, now: float) -> None:
        """Forget what nobody can ask for any more."""
        while self._closed:
            oldest = next(iter(self._closed))
            if self._closed[oldest][0] > now:
                return
            self._forget(oldest)

    def _forget(self, local: str) -> None:
        _, state = self._closed.pop(local)
        self._bytes -= _cost(state)

    def _answer(self, channel: str, message: Content, headers: Headers | None) -> None:
        try:
            self._uplink.put(self._layer.prepare(channel, message, headers))
        except ChannelLayerError as error:
            logger.error("a consumer that asks for the state of a WebSocket hears nothing: %s", error)


def _cost(state: State | None) -> int:
    return _OVERHEAD + (size_of(state) if state else 0)
