"""State that a connection keeps, for consumers whose message did not bring it along."""

from __future__ import annotations

import time
from collections.abc import Mapping
from weakref import WeakValueDictionary

from channel_layer.codec import EMPTY
from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelFull
from channel_layer.layer import ChannelLayer
from channel_layer.names import check_channel, split
from channel_layer.state import changes, keeps_state, merged

from .exceptions import SessionUnavailable

State = Mapping[str, bytes]

ANSWER_PATTERN = "channels.state?"

ANSWER_SECONDS = 5.0
"""Longest wait for a connection's process. It answers within a millisecond, unless it is gone or held up."""

SILENT_SECONDS = 10.0
"""For how long a process that did not answer is not asked again: others need the threads that would wait for it."""

_PAUSE = 0.02

_CLOSED = "the connection has closed"

_silent: dict[str, float] = {}
"""Process → until when it counts as silent."""


class HeldState:
    """State of a connection that lives in this process and needs no message to be asked: a test's client.

    Attributes:
        values: the state.
        takes_turns: false for a connection whose messages may be processed in another order than its own.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.values: State = {}
        self.takes_turns = True

    def change(self, changed: object) -> None:
        """Carry out changes; raises `ValueError` as an interface server logs it."""
        self.values = merged(self.values, changed, self._limit)


held: WeakValueDictionary[str, HeldState] = WeakValueDictionary()
"""Reply channel → its state, for as long as somebody else refers to that."""

_ever_held: set[str] = set()
"""Reply channels of connections that live in this process, or did."""


def hold(reply_channel: str, limit: int) -> HeldState:
    """Make the state of a connection that lives in this process, and goes when the state is let go of."""
    state = held[reply_channel] = HeldState(limit)
    _ever_held.add(reply_channel)
    return state


def can_be_asked(reply_channel: str) -> bool:
    """Tell if the connection behind a reply channel keeps state, or kept it while it was there."""
    return keeps_state(reply_channel) or reply_channel in _ever_held


class AskedState:
    """The state of a connection, read and written by messages to it.

    Reading blocks until the connection answers, writing until what changed is sent.

    Args:
        layer: the layer of the reply channel.
        reply_channel: name of the connection's channel.
    """

    def __init__(self, layer: ChannelLayer, reply_channel: str) -> None:
        self._layer = layer
        self._name = check_channel(reply_channel)
        self._kept: State | None = None
        self._failure: SessionUnavailable | None = None

    @property
    def state(self) -> State:
        """The state as the connection has it now.

        Raises:
            SessionUnavailable: the connection is gone, or its process does not answer.
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._kept = self._read()
        except SessionUnavailable as failure:
            self._failure = failure
            raise
        return self._kept

    @state.setter
    def state(self, state: State) -> None:
        kept = self.state if self._kept is None else self._kept
        changed = changes(kept, state)
        self._kept = state
        if not changed:
            return
        holder = held.get(self._name)
        if holder is not None:
            holder.change(changed)
        elif self._layer.send_batch([Outgoing(self._name, EMPTY, {"state": changed})]):
            raise ChannelFull(self._name)

    def _read(self) -> State:
        if self._name in _ever_held:
            holder = held.get(self._name)
            if holder is None:
                raise SessionUnavailable(self._name, _CLOSED)
            return holder.values
        process = split(self._name)[0]
        deadline = time.monotonic() + ANSWER_SECONDS
        if _silent.get(process, 0.0) > time.monotonic():
            raise SessionUnavailable(self._name, "its web server has just not answered")
        answer_to = self._layer.new_channel(ANSWER_PATTERN)
        self._ask(Outgoing(self._name, EMPTY, {"ask": answer_to}), deadline)
        while (remaining := deadline - time.monotonic()) > 0:
            # Comes back early when the worker is asked to stop; what it has begun it finishes.
            for answer in self._layer.receive_batch([answer_to], limit=1, timeout=remaining):
                _silent.pop(process, None)
                state = (answer.headers or {}).get("state")
                if isinstance(state, dict):
                    return state
                raise SessionUnavailable(self._name, _CLOSED)
        _silent[process] = time.monotonic() + SILENT_SECONDS
        raise SessionUnavailable(self._name, f"its web server has not answered for {ANSWER_SECONDS:g} seconds")

    def _ask(self, question: Outgoing, deadline: float) -> None:
        while self._layer.send_batch([question]):
            if time.monotonic() >= deadline:
                raise SessionUnavailable(self._name, "its web server takes no messages")
            time.sleep(_PAUSE)
