"""A WebSocket as its interface server sees it, and a real worker in a thread behind it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore

from channel_layer.delivery import Delivery
from channel_layer.state import merged
from channels.runtime.hooks import DjangoHook
from routing import Router
from tests.workers import tools

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PROCESS = "daphne.test!"


@contextlib.contextmanager
def working(layer: Any, routing: Any) -> Iterator[None]:
    """A worker with this routing, until the end of the block."""
    with tools.working(layer, Router(routing), threads=2, hooks=[DjangoHook()]):
        yield


def logged_in(user: User) -> SessionStore:
    """A browser's session in which a user is logged in."""
    session = SessionStore()
    session[auth.SESSION_KEY] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session


def cookie_of(session: SessionStore) -> dict[str, str]:
    """The headers with which the browser of this session opens a socket."""
    return {"cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}


class Socket:
    """A connection that takes turns. Messages go through the layer and back.

    Attributes:
        failed: whether the consumer of the last message raised.
        content: what every message has besides what `tell` is given.
    """

    def __init__(self, layer: Any, name: str = "socket", **content: Any) -> None:
        self.failed = False
        self.content = {"reply_channel": PROCESS + name, "path": "/", **content}
        self._layer = layer
        self._name = name
        self._turn = 0
        self._state: Mapping[str, bytes] | None = None

    def connect(self, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Send ``websocket.connect``; returns what came back until the turn was over."""
        fields = [[name.encode(), value.encode()] for name, value in (headers or {}).items()]
        return self.tell("websocket.connect", headers=fields, query_string=b"")

    def say(self, text: Any = None, data: bytes | None = None) -> list[dict[str, Any]]:
        """Send a frame, of text, of something as JSON, or of bytes."""
        encoded = text if text is None or isinstance(text, str) else json.dumps(text)
        return self.tell("websocket.receive", **({"text": encoded} if data is None else {"bytes": data}))

    def disconnect(self) -> list[dict[str, Any]]:
        """Send ``websocket.disconnect``."""
        return self.tell("websocket.disconnect", code=1000)

    def tell(self, channel: str, **content: Any) -> list[dict[str, Any]]:
        """Send a message and wait for the end of its turn."""
        self._turn += 1
        headers: dict[str, Any] = {"turn": self._turn}
        if self._state is not None:
            headers["state"] = self._state
        message = {**self.content, "order": self._turn - 1, **content}
        assert self._layer.send_batch([self._layer.prepare(channel, message, headers)]) == []
        replies: list[dict[str, Any]] = []
        while True:
            deliveries = self._layer.receive_batch([PROCESS], limit=100, timeout=20)
            if not deliveries:
                pytest.fail(f"the turn of {channel} did not end; until then came {replies}")
            replies += [each.message for each in deliveries if self._is_for_us(each)]
            for delivery in deliveries:
                if delivery.headers and "state" in delivery.headers:
                    self._state = merged(self._state, delivery.headers["state"], 16_384)
                if delivery.headers and delivery.headers.get("turn") == self._turn:
                    self.failed = delivery.headers.get("failed", False)
                    return replies + self.heard()

    def heard(self) -> list[dict[str, Any]]:
        """What has come since, through groups."""
        return [each.message for each in self._layer.receive_batch([PROCESS], limit=100) if self._is_for_us(each)]

    def _is_for_us(self, delivery: Delivery) -> bool:
        if delivery.members is not None:
            return self._name in delivery.members
        return bool(delivery.message) and delivery.channel == PROCESS + self._name
