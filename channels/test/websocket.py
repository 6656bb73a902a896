"""`WSClient`: a browser's side of a WebSocket, with cookies, headers, a session and a user."""

from __future__ import annotations

import copy
import json as json_module
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.utils.module_loading import import_string

from channel_layer import delivery
from channel_layer.messages import CONNECT, HTTP_REQUEST
from channels.binding.instances import User
from channels.session_stores import open_database_session, session_key_for
from interface_server.bridge.messages import MessageFactory
from interface_server.options import Options

from .client import Client

CLIENT, SERVER = ["127.0.0.1", 50_000], ["testserver", 80]
"""The addresses of both ends of a connection."""

_FACTORY = MessageFactory(Options())


class WSClient(Client):
    """A `Client` whose messages look like those of a WebSocket.

    Messages on ``websocket.connect`` and ``http.request`` have every key that those of an interface server have.
    Each message has a ``path`` and ``headers``, the session cookie only the first one. The session is the
    browser's, a Django session; `login` moves it to a new key, as it does in a browser. The channel session is
    another, which `channels.sessions.session_for_reply_channel` shows.

    Args:
        alias: of the layer.
        ordered: number the messages, for `enforce_ordering`.

    Attributes:
        order: number of the next message.
    """

    def __init__(self, *, ordered: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.order = 0
        self._ordered = ordered
        self._session: SessionBase | None = None
        self._headers: dict[str, str | bytes] = {}
        self._cookies: dict[str, str] = {}
        self._session_cookie = True

    def set_cookie(self, key: str, value: str) -> None:
        """Set a cookie for the messages to come."""
        self._cookies[key] = value

    def set_header(self, key: str, value: str | bytes) -> None:
        """Set a header for the messages to come; raises `ValueError` for ``cookie``."""
        if key.lower() == "cookie":
            raise ValueError("the cookie header is made from cookies; use set_cookie()")
        self._headers[key] = value

    def get_cookies(self) -> dict[str, str]:
        """The cookies of the next message."""
        cookies = dict(self._cookies)
        if self._session_cookie and apps.is_installed("django.contrib.sessions"):
            key = session_key_for(self.reply_channel) if self._session is None else self._session.session_key
            if key is not None:
                cookies[settings.SESSION_COOKIE_NAME] = key
        return cookies

    @property
    def headers(self) -> dict[str, str | bytes]:
        """Headers of the next message by name, ``cookie`` as bytes."""
        headers = copy.deepcopy(self._headers)
        headers.setdefault("cookie", _encoded_cookies(self.get_cookies()))
        return headers

    @property
    def session(self) -> SessionBase:
        """The Django session; save it after changing it. Raises `OSError` where sessions are not installed."""
        if not apps.is_installed("django.contrib.sessions"):
            raise OSError("Add django.contrib.sessions to the INSTALLED_APPS to use session")
        if self._session is None:
            self._session = open_database_session(self.reply_channel)
            if not self._session.exists(session_key_for(self.reply_channel)):
                self._session.save(must_create=True)
        return self._session

    def receive(self, json: bool = True) -> Any:
        """Take the next reply.

        Args:
            json: whether its text is JSON.

        Returns:
            The value of its JSON text; its text; its whole content if it has no text; or ``None`` if there is
            no reply.

        Raises:
            ValueError: the text is not JSON.
        """
        content = super().receive()
        if not content:
            return None
        text = content.get("text")
        if text is None:
            return content
        return json_module.loads(text) if json and isinstance(text, str) else text

    def send(self, to: str, content: delivery.Message | None = None, text: object = None, path: str = "/") -> None:
        """Send a message.

        Args:
            to: name of the channel.
            content: keys of the message; they take precedence.
            text: the text; what is not a `str` is encoded as JSON.
            path: where the WebSocket is connected to; for ``websocket.connect`` and ``http.request`` with a query
                string.
        """
        if to not in (CONNECT, HTTP_REQUEST):
            path = path.partition("?")[0]
        self.channel_layer.send(to, _travelling(_as_from_server(to, self._get_content(content, text, path))))
        self._session_cookie = False

    def send_and_consume(  # type: ignore[override]
        self,
        channel: str,
        content: delivery.Message | None = None,
        text: object = None,
        path: str = "/",
        fail_on_none: bool = True,
        check_accept: bool = True,
    ) -> Any:
        """`send` a message, then `consume` one of its channel."""
        self.send(channel, content, text, path)
        return self.consume(channel, fail_on_none=fail_on_none, check_accept=check_accept)

    def consume(self, channel: str, fail_on_none: bool = True, check_accept: bool = True) -> Any:
        """See `Client.consume`.

        Args:
            check_accept: whether a consumer of ``websocket.connect`` has to answer with ``{"accept": True}``.
                That reply is then taken off the reply channel.

        Raises:
            AssertionError: also, if it does not.
        """
        result = super().consume(channel, fail_on_none=fail_on_none)
        if channel == CONNECT and check_accept:
            received = self.receive(json=False)
            if received != {"accept": True}:
                # To the letter what Channels 1 says, for tests compare it.
                raise AssertionError(f"Connection rejected: {received} != '{{accept: True}}'")
        return result

    def login(self, **credentials: Any) -> bool:
        """Log a user in by credentials; false if they are wrong, or without sessions or an active user."""
        user = auth.authenticate(**credentials)
        if user is None or not user.is_active or not apps.is_installed("django.contrib.sessions"):
            return False
        self._login(user, None)
        return True

    def force_login(self, user: User, backend: str | None = None) -> None:
        """Log a user in without asking; ``backend`` defaults to the first that can load a user."""
        if backend is None:
            paths = settings.AUTHENTICATION_BACKENDS
            backend = next((path for path in paths if hasattr(import_string(path), "get_user")), paths[0])
        user.backend = backend
        self._login(user, backend)

    def logout(self) -> None:
        """Log the user out; the session is gone and the next one is empty."""
        request = self._request()
        request.user = auth.get_user(request)
        auth.logout(request)
        self._session = None

    def _login(self, user: User, backend: str | None) -> None:
        auth.login(self._request(), user, backend)
        self.session.save()

    def _request(self) -> HttpRequest:
        request = HttpRequest()
        request.session = self.session
        return request

    def _get_content(
        self, content: delivery.Message | None = None, text: object = None, path: str = "/"
    ) -> delivery.Message:
        content = self._with_reply_channel(content)
        path, mark, query = path.partition("?")
        content.setdefault("path", path)
        if mark:
            content.setdefault("query_string", query)
        content.setdefault("headers", self.headers)
        if self._ordered:
            if "order" in content:
                raise ValueError('the client numbers the messages: leave "order" away, or "ordered=True"')
            content["order"] = self.order
            self.order += 1
        if text is None:
            text = content.get("text")
        if text is not None:
            content["text"] = text if isinstance(text, str) else json_module.dumps(text)
        return content


def _as_from_server(to: str, content: delivery.Message) -> delivery.Message:
    """The content with every key that an interface server gives to messages which describe a connection."""
    scope = {"query_string": b"", "client": CLIENT, "server": SERVER, "method": "GET", **content}
    if to == CONNECT:
        return _FACTORY.connect({"scheme": "ws", **scope}, content["reply_channel"]) | content
    if to == HTTP_REQUEST:
        return _FACTORY.request({"scheme": "http", **scope}, content["reply_channel"], b"", None) | content
    return content


def _travelling(content: delivery.Message) -> delivery.Message:
    """Headers and query string in the form in which an interface server sends them."""
    headers = content["headers"]
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    content["headers"] = [[_bytes(name).lower(), _bytes(value)] for name, value in pairs]
    if "query_string" in content:
        content["query_string"] = _bytes(content["query_string"])
    return content


def _bytes(value: str | bytes) -> bytes:
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()


def _encoded_cookies(cookies: Mapping[str, str]) -> bytes:
    encoder: SimpleCookie = SimpleCookie()
    for key, value in cookies.items():
        encoder[key] = value
    return encoder.output(header="", sep=";").strip().encode("ascii")
