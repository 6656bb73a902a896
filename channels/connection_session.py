"""A channel session that rides with its connection."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from .exceptions import SessionTooLarge

MAX_BYTES = 16 * 1024
"""What a connection carries for its consumers."""

logger = logging.getLogger("channels.sessions")


class ConnectionSession(SessionBase):
    """Django's session interface over ``message.state``.

    It is loaded from the message and saved back into it; the worker returns the state to the
    connection with the end of the turn, and it is gone when the connection is gone. No I/O, ever. The
    content is encoded with the serializer that ``SESSION_SERIALIZER`` names, unsigned: it passes only
    between the interface server, the broker and the workers. Whoever can write to the broker can
    change it, as they can change any message; do not combine it with a serializer that runs code.

    Args:
        message: a message with `carries_state`.
        session_key: the key that the connection's session has.
    """

    def __init__(self, message: Any, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._message = message

    def load(self) -> dict[str, Any]:
        """The content as the connection has it. Empty, and logged, if it cannot be read."""
        state = self._message.state
        if not state:
            return {}
        try:
            content = self.serializer().loads(state)
        except Exception:
            logger.warning("the channel session of %s cannot be read; it starts empty", self._message.reply_channel)
            return {}
        return content if isinstance(content, dict) else {}

    def save(self, must_create: bool = False) -> None:
        """Put the content into the message; raises `SessionTooLarge`."""
        encoded: bytes = self.serializer().dumps(self._get_session(no_load=must_create))  # type: ignore[attr-defined]
        if len(encoded) > MAX_BYTES:
            raise SessionTooLarge(len(encoded), MAX_BYTES)
        self._message.state = encoded

    def exists(self, session_key: str) -> bool:
        """Whether this is the session of that key."""
        return session_key == self.session_key

    def create(self) -> None:
        """Start empty."""
        self._session_cache: dict[str, Any] = {}
        self.save()
        self.modified = True

    def delete(self, session_key: str | None = None) -> None:
        """Empty the session; its connection goes on and so does its key."""
        if session_key is None or session_key == self.session_key:
            self._session_cache = {}
            self.save()

    def flush(self) -> None:
        """Empty the session."""
        self.clear()
        self.delete()

    def cycle_key(self) -> None:
        """Nothing: the key is the connection's, nobody else can present it."""
        self.modified = True
