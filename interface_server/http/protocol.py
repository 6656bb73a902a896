"""HTTP/1.1 on a transport: limits, parsing, pipelining, framing of responses (RFC 9112)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque

import httptools

from ..bridge.context import Context
from ..bridge.messages import Scope, clean_headers
from ..sockets.connections import Connections
from ..websocket.protocol import WebSocketProtocol
from ..wire.http_framing import Framing, head_bytes, refusal
from ..wire.http_target import (
    Refusal,
    check_host,
    own_address,
    peer_address,
    split_target,
)
from ..wire.request_line import FOREIGN_METHODS, is_request_line, replace_request_line
from ..wire.responses import CONTROLS, Head
from .download import HIGH_WATER
from .exchange import HttpExchange

logger = logging.getLogger("interface_server.http")

LINGER_SECONDS = 5.0
TLS_LINGER_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0

_OPTIONAL_SPACE = b" \t"
_CHUNKED = b"chunked"


class Request:
    """A request on its way through the connection."""

    __slots__ = ("body_follows", "complete", "exchange", "expected", "expects", "head_only", "keep_alive", "old")

    def __init__(self, exchange: HttpExchange, method: str, version: str, keep_alive: bool) -> None:
        self.exchange = exchange
        self.head_only = method == "HEAD"
        self.old = version == "1.0"
        self.keep_alive = keep_alive
        self.expected: int | None = None
        self.expects = False
        self.body_follows = False
        self.complete = False


class HttpProtocol(asyncio.Protocol):
    """One connection of a client, until it becomes a WebSocket or ends.

    Requests are answered one after the other; one that comes while another is being answered waits,
    unread beyond what had arrived with it.

    Args:
        context: what the process shares.
        connections: every open connection of the server; this one enters and leaves it.
    """

    __slots__ = (
        "_begun", "_between", "_client", "_closing_at", "_connections", "_context", "_current", "_deaf", "_framing",
        "_head_bytes", "_head_raw", "_headers", "_in_head", "_line", "_loop", "_made", "_method", "_options",
        "_parser", "_raw", "_read_paused", "_reading", "_refusal", "_secure", "_served", "_server", "_since",
        "_surplus", "_transport", "_upgrade", "_url", "_waiting",
    )  # fmt: skip

    is_websocket = False

    def __init__(self, context: Context, connections: Connections) -> None:
        self._context = context
        self._options = context.options
        self._connections = connections
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._parser = httptools.HttpRequestParser(self)
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._secure = False
        self._closing_at = 0.0
        self._since = context.now
        self._in_head = False
        self._head_raw = 0
        self._head_bytes = 0
        self._url = b""
        self._method: str | None = None
        self._raw = b""
        self._line = b""
        self._refusal = ""
        self._begun = 0
        self._between = True
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
        context.tickers.add(self)
        self._made = False
        self._surplus = not connections.add(self)

    # -- transport -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._made = True
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if self._context.stopping:  # `shutdown` did not wait for it
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
        in_head, between, begun = self._in_head, self._between, self._begun
        try:
            if self._line:
                self._reread(data)
                return
            self._parser.feed_data(data)
            if self._in_head:
                if in_head:
                    self._head_raw += len(data)
                    if self._head_raw > self._options.header_max_bytes + self._options.request_line_max:
                        raise Refusal(431, "header fields too large")
                if not self._headers and (self._raw or (between and self._begun == begun + 1)):
                    self._raw += data
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._upgrade is not None:
                self._become_websocket(self._upgrade, rest)
            elif self._reading is None:
                self._refuse(400)
            else:
                self._read_on(self._reading, rest)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Refusal):
                logger.error("a request could not be handled", exc_info=cause)
            if cause is None and not self._headers and (self._raw or (between and self._begun == begun + 1)):
                self._read_again(self._raw + data, str(error))
            else:
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
            self._since = self._context.now  # the first request's time runs from the opening of the connection
        self._in_head = True
        self._between = False
        self._begun += 1
        self._head_raw = 0
        self._head_bytes = 0
        self._url = b""
        self._raw = b""
        self._method = None
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
        if value.translate(None, CONTROLS) != value:
            raise Refusal(400, "control character in a header value")
        headers.append((name.lower(), value.strip(_OPTIONAL_SPACE)))

    def on_headers_complete(self) -> None:
        """The head is there: decide what to do with the request."""
        self._in_head = False
        parser = self._parser
        version = parser.get_http_version()
        if version[0] != "1":
            raise Refusal(400 if version == "0.9" else 505, "this is a server for HTTP/1.1")
        method = self._method or parser.get_method().decode("ascii")
        if method in FOREIGN_METHODS and self._method is None:
            raise Refusal(400, "a request of another protocol")
        fields = dict(self._headers)
        hosts = sum(name == b"host" for name, _ in self._headers)
        if hosts > 1 or (hosts == 0 and version != "1.0"):
            raise Refusal(400, "no Host, or more than one")
        if hosts:
            check_host(fields[b"host"])
        if b"transfer-encoding" in fields:
            self._check_coding(version)
        if self._surplus:
            raise Refusal(503, "too many connections")
        path, query, authority = split_target(self._url, method)
        if authority is not None:
            self._headers = [field for field in self._headers if field[0] != b"host"] + [(b"host", authority)]
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
        length = fields.get(b"content-length")
        expected = int(length) if length else (1 if b"transfer-encoding" in fields else 0)
        upgrades = parser.should_upgrade()
        if upgrades and fields.get(b"upgrade", b"").lower() == b"websocket":
            if self._current is not None or self._waiting:
                raise Refusal(400, "upgrade behind another request")
            if method != "GET" or version != "1.1" or expected:
                raise Refusal(400, "an upgrade is a GET of HTTP/1.1 without a body (RFC 6455, section 4.1)")
            self._upgrade = scope
            return
        own = None if self._context.own_exchange is None or expected else self._context.own_exchange(scope, self)
        exchange: HttpExchange = HttpExchange(self._context, scope, self) if own is None else own
        request = Request(exchange, method, version, parser.should_keep_alive() and version != "1.0")
        request.expects = version != "1.0" and fields.get(b"expect", b"").lower() == b"100-continue"
        request.expected = expected
        request.body_follows = upgrades and expected > 0
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
        if request is None or request.complete or request.body_follows:
            return
        self._between = True
        request.complete = True
        request.exchange.end()
        if request is self._current and not request.expected:
            request.exchange.begin(0)

    def _check_coding(self, version: str) -> None:
        """Refuse a transfer coding besides ``chunked`` (RFC 9112, section 6.1); the parser refuses any other end."""
        codings = b",".join(value for name, value in self._headers if name == b"transfer-encoding").split(b",")
        if len(codings) > 1 and codings[-1].strip().lower() == _CHUNKED:
            raise Refusal(501, "a transfer coding besides chunked")
        if version == "1.0":
            raise Refusal(400, "HTTP/1.0 has no transfer codings")

    # -- requests that the parser cannot read ----------------------------------------------------

    def _read_again(self, data: bytes, refusal: str) -> None:
        """Look at a request line that the parser refused: its method or version may be one that it does not know."""
        self._line, self._refusal = data.lstrip(b"\r\n"), refusal
        try:
            self._reread(b"")
        except Refusal as refused:
            self._turn_down(refused)

    def _reread(self, data: bytes) -> None:
        """Gather such a line, and parse what can stand in its place; raises `Refusal`."""
        line, end, rest = (self._line + data).partition(b"\r\n")
        if not is_request_line(line, complete=bool(end)):
            raise Refusal(400, self._refusal)
        if len(line) > self._options.request_line_max:
            raise Refusal(414, "request line too long")
        if not end:
            self._line = line
            return
        self._line = b""
        substitute, method = replace_request_line(line)
        if substitute == line:
            raise Refusal(400, self._refusal)
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(substitute + b"\r\n")
        self._method = method
        if rest:
            self.data_received(rest)

    def _read_on(self, request: Request, rest: bytes) -> None:
        """Go on with HTTP behind a head whose offer to change protocols is not taken up (RFC 9110, section 7.8).

        The parser stops behind such a head, before the body. Another one reads that, behind a head made up for it.
        """
        if request.body_follows:
            request.body_follows = False
            framing = [field for field in self._headers if field[0] in (b"content-length", b"transfer-encoding")]
            self._parser = httptools.HttpRequestParser(_BehindHead(self))
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in framing))
        else:
            self._parser = httptools.HttpRequestParser(self)
        if rest:
            self.data_received(rest)

    # -- ResponseWriter --------------------------------------------------------------------------

    def start(self, head: Head, content: bytes, more: bool) -> None:
        """See `ResponseWriter.start`."""
        request = self._current
        if request is None:
            return
        framing = self._framing = Framing(head, content, more, request.head_only, request.old)
        if head.close or framing.until_close or not request.complete or self._context.stopping or self._deaf:
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
        """See `ResponseWriter.buffered`.

        A connection that is being lost takes nothing more: its buffer is empty, and a response that was written to it
        would pass for one that its client has got.
        """
        return sys.maxsize if self._transport.is_closing() else self._transport.get_write_buffer_size()

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
        self._since = self._context.now
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
        protocol = WebSocketProtocol(self._context, self._connections, self._transport)
        self._transport.set_protocol(protocol)
        protocol.begin(scope, self._headers, self._url)
        if rest:
            protocol.data_received(rest)

    def _turn_down(self, refusal: Refusal) -> None:
        logger.debug("refused a request from %s with %d: %s", self._client, refusal.status, refusal.reason)
        self._refuse(refusal.status)

    def _refuse(self, status: int) -> None:
        """Answer what cannot be handled, after what is owed already, and read no further."""
        self._context.facts.refused.add(str(status))
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
        self._transport.write(refusal(status, self._options.retry_after))
        self._linger()

    def _linger(self) -> None:
        """Close so that a client that is still sending gets to read the response (RFC 9112, section 9.6)."""
        self._deaf = True
        self._closing_at = self._context.now + LINGER_SECONDS
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._closing_at = self._context.now + TLS_LINGER_SECONDS

    def _close(self) -> None:
        self._deaf = True
        self._closing_at = self._context.now + self._options.http_timeout
        self._transport.close()

    def _forget(self) -> None:
        self._connections.discard(self)
        self._context.tickers.discard(self)


class _BehindHead:
    """The parser's events for a connection, without those of its first head."""

    def __init__(self, protocol: HttpProtocol) -> None:
        self._protocol = protocol
        self._in_first_head = True
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        """See `HttpProtocol.on_message_begin`."""
        if not self._in_first_head:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """See `HttpProtocol.on_url`."""
        if not self._in_first_head:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `HttpProtocol.on_header`."""
        if not self._in_first_head:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """See `HttpProtocol.on_headers_complete`."""
        if self._in_first_head:
            self._in_first_head = False
        else:
            self._protocol.on_headers_complete()
