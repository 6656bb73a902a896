"""A channel session that rides with its connection."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.serializers import JSONSerializer

from channel_layer.state import size_of

from .exceptions import SessionTooLarge
from .runtime.django_internals import empty_session, session_content

MAX_BYTES = 16 * 1024
"""Bytes that a connection carries for its consumers."""

SessionData: TypeAlias = dict[str, Any]
"""Content of a session: whatever an application keeps there."""

_UNCHANGEABLE = frozenset({str, int, float, bool, type(None)})
"""Types of which the same object is the same value for ever."""

_json = json.JSONEncoder(separators=(",", ":"))

logger = logging.getLogger("channels.sessions")


def _encode_json(value: SessionData) -> bytes:
    """Encode as Django's `JSONSerializer`, which makes a new encoder for each value and takes twice the time."""
    return _json.encode(value).encode("ascii")


class Carrier(Protocol):
    """Holder of the state of a connection: a message that brought it along, or somebody who asks the connection."""

    @property
    def state(self) -> Mapping[str, bytes] | None:
        """The state."""

    @state.setter
    def state(self, content: Mapping[str, bytes]) -> None: ...


class ConnectionSession(SessionBase):
    """Django's session interface over the state of a connection.

    It is loaded from a carrier and saved back into it, each key by itself, so that what consumers do at the same time
    to different keys is kept. A message takes the state back to the connection with the end of the turn, and it is
    gone when the connection is gone. The content is encoded with the serializer that ``SESSION_SERIALIZER`` names,
    unsigned: it passes only between the interface server, the broker and the workers. Whoever can write to the broker
    can change it, as they can change any message; do not combine it with a serializer that runs code.

    Args:
        carrier: a message with `carries_state`, or an `AskedState`.
        session_key: the key that the connection's session has.
        name: of the connection, for the log.
    """

    def __init__(self, carrier: Carrier, session_key: str | None = None, name: str = "") -> None:
        super().__init__(session_key)
        self._carrier = carrier
        self._name = name
        self._loaded: SessionData = {}
        self._encoded: Mapping[str, bytes] = {}

    def load(self) -> SessionData:
        """Decode the content that the carrier has; log and return an empty one if it cannot be read."""
        state = self._carrier.state
        self._loaded, self._encoded = {}, {}
        if not state:
            return {}
        try:
            content = self._decode(state)
        except Exception:
            logger.warning("the channel session of %s cannot be read; it starts empty", self._name)
            return {}
        self._loaded, self._encoded = content.copy(), state
        return content

    def _decode(self, state: Mapping[str, bytes]) -> SessionData:
        serializer = self.serializer()
        parts: Iterable[SessionData]
        if self.serializer is JSONSerializer:
            # All in one call, which costs more than decoding a value.
            parts = serializer.loads(b"[%b]" % b",".join(state.values()))
        else:
            parts = map(serializer.loads, state.values())
        content: SessionData = {}
        for part in parts:
            content.update(part)
        return content

    def save(self, must_create: bool = False) -> None:
        """Put the content into the carrier.

        Values that cannot have changed since they were loaded keep their encoded form.

        Raises:
            SessionTooLarge: the content, encoded, has more than `MAX_BYTES`.
        """
        content = session_content(self, no_load=must_create)
        loaded, encoded = self._loaded, self._encoded
        encode = _encode_json if self.serializer is JSONSerializer else self.serializer().dumps
        state: dict[str, bytes] = {}
        for key, value in content.items():
            name = key if type(key) is str else repr(key)
            if name in encoded and key in loaded and loaded[key] is value and type(value) in _UNCHANGEABLE:
                state[name] = encoded[name]
            else:
                # A dict each time, because that is all that serializers have to take.
                state[name] = encode({key: value})
        if (size := size_of(state)) > MAX_BYTES:
            raise SessionTooLarge(size, MAX_BYTES)
        self._carrier.state = state

    def exists(self, session_key: str) -> bool:
        """Tell if this is the session of that key."""
        return session_key == self.session_key

    def create(self) -> None:
        """Start empty."""
        empty_session(self)
        self.save()
        self.modified = True

    def delete(self, session_key: str | None = None) -> None:
        """Empty the session; its connection goes on and so does its key."""
        if session_key is None or session_key == self.session_key:
            empty_session(self)
            self.save()

    def flush(self) -> None:
        """Empty the session."""
        self.clear()
        self.delete()

    def cycle_key(self) -> None:
        """Nothing: the key is the connection's, nobody else can present it."""
        self.modified = True

    # The async forms are the same in a thread, because a carrier may wait for its connection.

    async def aload(self) -> SessionData:
        """See `load`."""
        return await sync_to_async(self.load)()

    async def asave(self, must_create: bool = False) -> None:
        """See `save`."""
        await sync_to_async(self.save)(must_create)

    async def aexists(self, session_key: str) -> bool:
        """See `exists`."""
        return self.exists(session_key)

    async def acreate(self) -> None:
        """See `create`."""
        await sync_to_async(self.create)()

    async def adelete(self, session_key: str | None = None) -> None:
        """See `delete`."""
        await sync_to_async(self.delete)(session_key)

    async def aflush(self) -> None:
        """See `flush`."""
        await sync_to_async(self.flush)()

    async def acycle_key(self) -> None:
        """See `cycle_key`."""
        self.cycle_key()
