"""An interface server for HTTP inside any WSGI server, such as gunicorn (PEP 3333).

::

    # project/wsgi.py
    from channels.asgi import get_channel_layer
    from interface_server.wsgi import WsgiInterface

    application = WsgiInterface(get_channel_layer())

Each request goes over the channel layer to a worker, and its thread waits for the answer: give the
server many threads. WebSockets need ``daphne``.
"""

from __future__ import annotations

import http
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator

from channel_layer.delivery import Message
from channel_layer.layer import ChannelLayer

from ..bridge.messages import MessageFactory
from ..http.rules import own_answer
from ..options import Options
from ..wire.responses import Head, ResponseCut
from .exchange import Failed, Input, RequestBody, SpooledBody, WsgiExchange
from .reader import Reader
from .scope import BadEnviron, Environ, body_length, scope_of

__all__ = ["ResponseCut", "WsgiInterface", "WsgiToAsgiAdapter"]

logger = logging.getLogger("interface_server.wsgi")

StartResponse = Callable[..., object]
Fields = list[tuple[str, str]]

_PHRASES = {int(status): status.phrase for status in http.HTTPStatus}


class WsgiInterface:
    """A WSGI application that has each request answered over a channel layer.

    Thread-safe, and safe to fork after it was made (gunicorn's ``--preload``): each process has one
    reply name and one thread that reads it, from its first request on.

    The time a client gets for its request and for reading, and the limits for headers, are the WSGI
    server's. A client that leaves is noticed when the server writes to it.

    Args:
        channel_layer: any channel layer.
        options: those that apply are ``body_inline``, ``body_chunk``, ``body_max``, ``body_memory``,
            ``stream_bodies``, ``http_timeout`` (for the beginning of a response, and for each further part),
            ``response_buffer``, ``response_spool``, ``spool_dir``, ``spool_bytes``, ``spool_memory``,
            ``retry_after``, ``root_path``, ``proxy_headers`` and ``trusted_proxies``.
    """

    def __init__(self, channel_layer: ChannelLayer, options: Options | None = None) -> None:
        self.channel_layer = channel_layer
        self.options = options or Options()
        self._factory = MessageFactory(self.options)
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        _renew_after_fork(self)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request.

        Raises:
            ResponseCut: later, from the iteration, if a response that has begun cannot be completed.
        """
        try:
            scope, length = scope_of(environ), body_length(environ)
        except BadEnviron as error:
            logger.warning("refused a request: %s", error)
            return self._fail(400, start_response)
        if length is not None and length > self.options.body_max:
            return self._fail(413, start_response)
        reader = self._own_reader()
        mailbox = reader.open()
        exchange = WsgiExchange(
            self.channel_layer, self.options, self._factory, scope, mailbox, lambda: reader.tells_of_ends
        )
        response = _Response(exchange, lambda: reader.shut(mailbox))
        try:
            head, content, more = exchange.head(self._ask(exchange, environ["wsgi.input"], length, reader))
            start_response(_status_line(head.status), _fields(head, content, more, scope["method"]))
        except Failed as failure:
            response.close()
            return self._fail(failure.status, start_response)
        except BaseException:
            response.close()
            raise
        response.begin(head, content, more)
        return response

    def close(self) -> None:
        """End the thread that reads answers; the next request starts another."""
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None and reader.belongs_here:
            reader.close()

    def _ask(self, exchange: WsgiExchange, stream: Input, length: int | None, reader: Reader) -> Message:
        body = RequestBody(stream, length, self.options.body_max)
        if self.options.stream_bodies or body.ended:
            return exchange.ask(body)
        spooled = SpooledBody(body, reader.file, self.options)
        try:
            return exchange.ask(spooled)
        finally:
            spooled.close()

    def _own_reader(self) -> Reader:
        reader = self._reader
        if reader is not None and reader.belongs_here:
            return reader
        with self._lock:
            if self._reader is None or not self._reader.belongs_here:
                self._reader = Reader(self.channel_layer, self.options)
            return self._reader

    def _fail(self, status: int, start_response: StartResponse) -> Iterable[bytes]:
        head, text = own_answer(status, self.options.retry_after)
        start_response(_status_line(status), _fields(head, text, False, "GET"))
        return [text]


WsgiToAsgiAdapter = WsgiInterface
"""The name this had in asgiref, where it was ``asgiref.wsgi.WsgiToAsgiAdapter``."""


class _Response:
    """The iterable that a WSGI server gets: a response that has begun."""

    def __init__(self, exchange: WsgiExchange, release: Callable[[], None]) -> None:
        self._exchange = exchange
        self._release = release
        self._parts: Iterator[bytes] = iter(())

    def begin(self, head: Head, content: bytes, more: bool) -> None:
        """The head has gone out."""
        if not head.bodiless(self._exchange.scope["method"]):
            self._parts = self._read(content, more, head.length)
        elif not more:
            self._exchange.complete()  # else the server's `close` tells the producer that nobody wants it

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        """The server is done with it, whether it has got everything or not."""
        self._exchange.abandon()
        self._release()

    def _read(self, content: bytes, more: bool, length: int | None) -> Iterator[bytes]:
        left = length
        while True:
            if left is not None:
                left -= len(content)
                if left < 0 or (left and not more):
                    raise self._exchange.cut(f"it has not the {length} bytes that its content length says")
            if not more:
                self._exchange.complete()
            if content:
                yield content
            if not more:
                return
            content, more = self._exchange.next()


def _status_line(status: int) -> str:
    return f"{status} {_PHRASES.get(status, 'Unknown')}"


def _fields(head: Head, content: bytes, more: bool, method: str) -> Fields:
    fields = [(field.name.decode("latin-1"), field.value.decode("latin-1")) for field in head.fields]
    length = head.length
    if length is None and not more and not head.bodiless(method):
        length = len(content)
    if length is not None and head.status != 204:
        fields.append(("Content-Length", str(length)))
    return fields


def _renew_after_fork(interface: WsgiInterface) -> None:
    """See that a child does not wait for a lock that a thread of its parent held."""
    reference = weakref.ref(interface)

    def renew() -> None:
        found = reference()
        if found is not None:
            found._lock = threading.Lock()

    os.register_at_fork(after_in_child=renew)
