"""HTTP/1.1 on a transport: limits, parsing, pipelining, framing of responses (RFC 9112)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from typing import TYPE_CHECKING

import httptools

from .download import HIGH_WATER
from .http_exchange import HttpExchange
from .http_framing import Framing, head_bytes, short_response
from .http_target import Refusal, own_address, peer_address, split_target
from .messages import Scope, clean_headers
from .responses import Head
from .websocket_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from .connections import Connections
    from .gateway import Gateway

logger = logging.getLogger("interface_server.http")

LINGER_SECONDS = 5.0
TLS_LINGER_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


class Request:
    """A request on its way through the connection."""

    __slots__ = ("complete", "exchange", "expected", "expects", "head_only", "keep_alive", "old")

    def __init__(self, exchange: HttpExchange, method: str, version: str, keep_alive: bool) -> None:
        self.exchange = exchange
        self.head_only = method == "HEAD"
        self.old = version == "1.0"
        self.keep_alive = keep_alive
        self.expected: int | None = None
        self.expects = False
        self.complete = False


class HttpProtocol(asyncio.Protocol):
    """One connection of a client, until it becomes a WebSocket or ends.

    Requests are answered one after the other; one that comes while another is being answered waits,
    unread beyond what had arrived with it.

    Args:
        gateway: what the process shares.
        connections: every open connection of the server; this one enters and leaves it.
    """

    def __init__(self, gateway: Gateway, connections: Connections) -> None:
        self._gateway = gateway
        self._options = gateway.options
        self._connections = connections
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._secure = False
        self._closing_at = 0.0
        self._since = gateway.now
        self._in_head = False
        self._head_raw = 0
        self._head_bytes = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._upgrade: Scope | None = None
        self._reading: Request | None = None
        self._current: Request | None = None
        self._waiting: deque[Request] = deque()
        self._read_paused = False
        self._framing: Framing | None = None
        self._served = False
        self._deaf = False
        self._loop = asyncio.get_running_loop()
        gateway.tickers.add(self)
        self._made = False
        self._surplus = not connections.add(self)

    # -- transport -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._made = True
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if self._gateway.stopping:  # `shutdown` did not wait for it
            self._transport.abort()
            return
        if self._surplus and self._connections.is_crowded:
            self._refuse(503)
            return
        self._client, self._server = peer_address(transport), own_address(transport)
        self._secure = self._transport.get_extra_info("sslcontext") is not None

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._deaf:
            return
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
            if in_head and self._in_head:
                self._head_raw += len(data)
                if self._head_raw > self._options.header_max_bytes + self._options.request_line_max:
                    raise Refusal(431, "header fields too large")
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrade is not None:
                self._become_websocket(self._upgrade, data[upgrade.args[0] :])
            elif self._reading is None or self._reading.expected:
                self._refuse(400)  # the parser does not read the body of a request to change protocols
            elif self._current is None:
                self._close()
            else:
                self._current.keep_alive = False
                self._deaf = True
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Refusal):
                logger.error("a request could not be handled", exc_info=cause)
            self._turn_down(cause if isinstance(cause, Refusal) else Refusal(400, str(error)))
        except Refusal as refusal:
            self._turn_down(refusal)

    def eof_received(self) -> bool:
        """The client is gone: a FIN is all that tells of one that left while it waits for its answer."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._forget()
        for request in (self._current, *self._waiting):
            if request is not None:
                request.exchange.gone()
        self._current = None
        self._waiting.clear()

    def pause_writing(self) -> None:
        """The client takes less than it is sent; `buffered` tells how much."""

    def resume_writing(self) -> None:
        """The client caught up."""
        if self._current is not None:
            self._current.exchange.drained()

    # -- the server ------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the time to send headers, the idle time, and the end of a lingering close."""
        if not self._made:
            # A TLS handshake. One that fails tells nobody.
            if now - self._since > HANDSHAKE_SECONDS + 1:
                self._forget()
        elif self._closing_at:
            if now >= self._closing_at:
                self._transport.abort()
        elif self._current is None and not self._waiting:
            if self._in_head or not self._served:
                if now - self._since >= self._options.header_timeout:
                    self._refuse(408)
            elif now - self._since >= self._options.keep_alive:
                self._close()

    def shutdown(self) -> None:
        """Close now, or after the response that is under way."""
        if not self._made:
            self._forget()
        elif self._current is None:
            self._transport.close()
        else:
            self._current.keep_alive = False

    # -- parser callbacks ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request line begins."""
        if self._current is None and self._served:
            self._since = self._gateway.now  # the first request's time runs from the opening of the connection
        self._in_head = True
        self._head_raw = 0
        self._head_bytes = 0
        self._url = b""
        self._headers = []
        self._reading = None

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url
        if len(self._url) + 16 > self._options.request_line_max:
            raise Refusal(414, "request line too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field."""
        self._head_bytes += len(name) + len(value) + 4
        headers = self._headers
        if len(headers) >= self._options.header_max_fields or self._head_bytes > self._options.header_max_bytes:
            raise Refusal(431, "too many or too large header fields")
        if _BAD_VALUE(value):
            raise Refusal(400, "control character in a header value")
        headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there: decide what to do with the request."""
        self._in_head = False
        parser = self._parser
        version = parser.get_http_version()
        method = parser.get_method().decode("ascii")
        fields = dict(self._headers)
        hosts = sum(name == b"host" for name, _ in self._headers)
        if hosts > 1 or (hosts == 0 and version != "1.0"):
            raise Refusal(400, "no Host, or more than one")
        if self._surplus:
            raise Refusal(503, "too many connections")
        path, query = split_target(self._url, method)
        scope: Scope = {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": "https" if self._secure else "http",
            "path": path,
            "query_string": query,
            "root_path": "",
            "headers": clean_headers(self._headers),
            "client": self._client,
            "server": self._server,
        }
        if parser.should_upgrade() and fields.get(b"upgrade", b"").lower() == b"websocket":
            if self._current is not None or self._waiting:
                raise Refusal(400, "upgrade behind another request")
            if method != "GET" or version != "1.1":
                raise Refusal(400, "an upgrade is a GET of HTTP/1.1 (RFC 6455, section 4.1)")
            self._upgrade = scope
            return
        exchange = self._gateway.open_http(scope, self)
        request = Request(exchange, method, version, parser.should_keep_alive() and version != "1.0")
        request.expects = version != "1.0" and fields.get(b"expect", b"").lower() == b"100-continue"
        length = fields.get(b"content-length")
        request.expected = int(length) if length else (1 if b"transfer-encoding" in fields else 0)
        self._reading = request
        if self._current is None and not self._waiting:
            self._current = request
            if request.expected:
                exchange.begin(request.expected)  # else with on_message_complete, which follows at once
        else:
            self._waiting.append(request)
            self.pause()

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        if self._reading is not None:
            self._reading.exchange.feed(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        request = self._reading
        if request is None or request.complete:
            return
        request.complete = True
        request.exchange.end()
        if request is self._current and not request.expected:
            request.exchange.begin(0)

    # -- ResponseWriter --------------------------------------------------------------------------

    def start(self, head: Head, content: bytes, more: bool) -> None:
        """See `ResponseWriter.start`."""
        request = self._current
        if request is None:
            return
        framing = self._framing = Framing(head, content, more, request.head_only, request.old)
        if head.close or framing.until_close or not request.complete or self._gateway.stopping or self._deaf:
            request.keep_alive = False
        pieces = head_bytes(head, framing, close=not request.keep_alive)
        self._write_part(framing, content, more, pieces)

    def write(self, content: bytes, more: bool) -> None:
        """See `ResponseWriter.write`."""
        if self._framing is not None:
            self._write_part(self._framing, content, more, [])

    def abort(self) -> None:
        """See `ResponseWriter.abort`."""
        self._transport.abort()

    def buffered(self) -> int:
        """See `ResponseWriter.buffered`."""
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """See `ResponseWriter.pause`."""
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `ResponseWriter.resume`."""
        if self._read_paused and not self._waiting:
            self._read_paused = False
            self._transport.resume_reading()

    def expect(self) -> None:
        """See `ResponseWriter.expect`."""
        if self._current is not None and self._current.expects:
            self._current.expects = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- the course of the connection ------------------------------------------------------------

    def _write_part(self, framing: Framing, content: bytes, more: bool, pieces: list[bytes]) -> None:
        part = framing.part(content, more)
        if part is None:
            logger.error("cut off a response: its body does not have the length that its headers say")
            self._transport.abort()
            return
        self._transport.write(b"".join([*pieces, part]))
        if not more:
            self._complete()

    def _complete(self) -> None:
        """The response is out: take the next request, wait for one, or close."""
        request, self._current, self._framing = self._current, None, None
        self._since = self._gateway.now
        self._served = True
        if request is None or self._transport.is_closing():
            return
        if not request.complete:
            self._linger()
        elif not request.keep_alive:
            self._close()
        elif self._waiting:
            self._loop.call_soon(self._advance)
        else:
            self.resume()

    def _advance(self) -> None:
        if self._current is None and self._waiting and not self._transport.is_closing():
            request = self._current = self._waiting.popleft()
            request.exchange.begin(request.expected)
            self.resume()

    def _become_websocket(self, scope: Scope, rest: bytes) -> None:
        self._forget()
        protocol = WebSocketProtocol(self._gateway, self._connections, self._transport)
        self._transport.set_protocol(protocol)
        protocol.begin(scope, self._headers, self._url)
        if rest:
            protocol.data_received(rest)

    def _turn_down(self, refusal: Refusal) -> None:
        logger.debug("refused a request from %s with %d: %s", self._client, refusal.status, refusal.reason)
        self._refuse(refusal.status)

    def _refuse(self, status: int) -> None:
        """Answer what cannot be handled, after what is owed already, and read no further."""
        self._deaf = True
        request = self._current
        if request is not None and request.complete:
            request.keep_alive = False
            self.pause()
            return
        if request is not None:
            began = self._framing is not None
            self._current = None
            request.exchange.gone()
            if began:
                self._transport.abort()
                return
        self._waiting.clear()
        self._transport.write(short_response(status, self._options.retry_after if status == 503 else None))
        self._linger()

    def _linger(self) -> None:
        """Close so that a client that is still sending gets to read the response (RFC 9112, section 9.6)."""
        self._deaf = True
        self._closing_at = self._gateway.now + LINGER_SECONDS
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._closing_at = self._gateway.now + TLS_LINGER_SECONDS

    def _close(self) -> None:
        self._deaf = True
        self._closing_at = self._gateway.now + self._options.http_timeout
        self._transport.close()

    def _forget(self) -> None:
        self._connections.discard(self)
        self._gateway.tickers.discard(self)
