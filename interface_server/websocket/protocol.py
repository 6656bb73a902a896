"""A WebSocket on a transport (RFC 6455): handshake, frames, pings, limits, the closing handshake."""

from __future__ import annotations

import asyncio
import codecs
import logging
import secrets
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from channel_layer.event_loops import write_pieces

from ..bridge.context import Context
from ..bridge.messages import Scope
from ..bridge.replies import Denial, Payload
from ..bridge.uplink import Entry
from ..facts import BY_CLIENT
from ..wire.compression import Meter, extension_from, extension_state, remember
from ..wire.http_framing import Framing, head_bytes, refusal, short_response
from ..wire.websocket_frames import (
    ABNORMAL,
    TOO_BIG,
    LargeMessage,
    least_size,
    ping_frame,
    whole_message,
    whole_pong,
)
from .connection import Phase, WebSocketConnection
from .parting import Parting

logger = logging.getLogger("interface_server.websocket")

SLICE = 16_384
"""Bytes parsed at a time, so that a read full of tiny frames does not become as many objects at once."""

_NEEDED = frozenset(
    {b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"}
)
_VERSION = b"13"
_OTHER_VERSION = (
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", _VERSION),
)
_INVALID_DATA = 1007
_NOT_UTF8 = "text is not UTF-8"
_INTERNAL_ERROR = 1011
_NO_STATUS = 1005

_new_decoder = codecs.getincrementaldecoder("utf-8")


class WebSocketProtocol(asyncio.Protocol):
    """One WebSocket client, taken over from the HTTP protocol that read its request.

    It is the `Socket` of a `WebSocketConnection`. What it sends goes to the transport at once; a message
    for many clients is one byte string in all of their buffers.

    Args:
        context: what the process shares.
        connections: every open connection of the server; this one enters and leaves it.
        transport: the open transport.
    """

    __slots__ = (
        "_backlog", "_closing_at", "_connection", "_connections", "_context", "_deaf", "_decoder", "_extensions",
        "_frames", "_is_held", "_is_open", "_is_text", "_kept", "_kept_bytes", "_large", "_meter", "_options", "_parts",
        "_paused", "_ping", "_pinged_at", "_progress", "_response", "_resumed", "_taken", "_transport", "_unparsed",
        "_written",
    )  # fmt: skip

    is_websocket = True

    def __init__(self, context: Context, connections: set[Any], transport: asyncio.Transport) -> None:
        self._context = context
        self._options = context.options
        self._connections = connections
        self._transport = transport
        self._response: Response | None = None
        self._is_open = False
        self._frames: ServerProtocol | None = None
        self._extensions: list[Any] = []
        self._connection: WebSocketConnection | None = None
        self._parts: list[Any] = []
        self._decoder: codecs.IncrementalDecoder | None = None
        self._unparsed = 0
        self._large: LargeMessage | None = None
        self._is_text = False
        self._paused = False
        self._deaf = False
        self._backlog = b""
        self._closing_at = 0.0
        self._ping: bytes | None = None
        self._pinged_at = context.now
        self._written = 0
        self._taken = 0
        self._progress = context.now
        self._is_held = False
        self._resumed: Any = None
        self._meter: Meter | None = None
        self._kept: deque[bytes] | None = deque() if context.options.takeover else None
        self._kept_bytes = 0
        connections.add(self)
        context.tickers.add(self)

    def begin(self, scope: Scope, headers: list[tuple[bytes, bytes]], target: bytes) -> None:
        """Check the handshake and ask the consumers."""
        if any(value != _VERSION for name, value in headers if name == b"sec-websocket-version"):
            self._transport.write(short_response(426, *_OTHER_VERSION))
            self._hang_up()
            return
        request = Request(
            target.decode("ascii"),
            Headers([(name.decode(), value.decode("latin-1")) for name, value in headers if name in _NEEDED]),
        )
        factory = ServerPerMessageDeflateFactory(server_max_window_bits=12, client_max_window_bits=12)
        shaker = ServerProtocol(extensions=[factory] if self._options.permessage_deflate else None, logger=logger)
        response = shaker.accept(request)
        if response.status_code != 101:
            response.headers.pop("Connection", None)
            response.headers["Connection"] = "close"
            self._transport.write(response.serialize())
            self._hang_up()
            return
        self._response = response
        self._extensions = shaker.extensions
        if self._options.takeover:
            for extension in self._extensions:
                remember(extension)
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["subprotocols"] = [
            token.strip().decode("latin-1")
            for name, value in headers
            if name == b"sec-websocket-protocol"
            for token in value.split(b",")
        ]
        self._connection = WebSocketConnection(self._context, scope, self)
        self._connection.open()

    # -- Socket ----------------------------------------------------------------------------------

    @property
    def outbox_bytes(self) -> int:
        """See `Socket.outbox_bytes`."""
        return self._transport.get_write_buffer_size()

    @property
    def direct(self) -> asyncio.Transport | None:
        """See `Socket.direct`; compression is a matter of one client."""
        return None if self._extensions else self._transport

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """See `Socket.accept`."""
        response, self._response = self._response, None
        if response is None or self._transport.is_closing():
            return
        if subprotocol is not None:
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        self._is_open = True
        self._pinged_at = self._progress = self._context.now
        head = response.serialize()
        if fields:  # as they are; the library's are text
            head = head[:-2] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
        self._write(head)
        if self._backlog:
            backlog, self._backlog = self._backlog, b""
            asyncio.get_running_loop().call_soon(self.data_received, backlog)

    def reject(self, status: int, denial: Denial | None = None) -> None:
        """See `Socket.reject`."""
        if denial is None:
            self._transport.write(refusal(status, self._options.retry_after))
        else:
            head, content = denial
            framing = Framing(head, content, more=False, head_only=False, old=False)
            pieces = [*head_bytes(head, framing, close=True), framing.part(content, more=False) or b""]
            self._transport.write(b"".join(pieces))
        self._hang_up()

    def send(self, payload: Payload) -> bool:
        """See `Socket.send`."""
        if self._transport.is_closing() or self._closing_at:
            return True
        frame = payload.frame
        if frame is None or self._extensions:
            if self._extensions:
                opcode = Opcode.TEXT if payload.is_text else Opcode.BINARY
                frame = Frame(opcode, payload.raw).serialize(mask=False, extensions=self._extensions)
            elif payload.is_large:
                return self._send_large(payload.pieces)
            else:
                frame = payload.encode()
        self._transport.write(frame)
        return self.queued(frame, self._transport.get_write_buffer_size())

    def queued(self, frame: bytes, waiting: int) -> bool:
        """See `Socket.queued`. Frames that the system took at once need not be told of."""
        if not waiting:
            return True
        self._written += len(frame)
        if self._kept is not None:
            self._keep(frame, waiting)
        return waiting <= self._options.outbox_bytes

    def _send_large(self, pieces: Sequence[bytes]) -> bool:
        write_pieces(self._transport, pieces)
        waiting = self._transport.get_write_buffer_size()
        fits = True
        for piece in pieces:
            fits = self.queued(piece, waiting)
        return fits

    def close(self, code: int, reason: str = "") -> None:
        """See `Socket.close`."""
        if not self._is_open or self._closing_at or self._transport.is_closing():
            return
        self._library().send_close(code, reason)
        self._flush()
        self._closing_at = self._context.now + self._options.close_timeout
        self.resume()

    def pause(self) -> None:
        """See `Socket.pause`."""
        if not self._paused and not self._closing_at:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """See `Socket.resume`."""
        if self._paused:
            self._paused = False
            if self._ping is not None:
                self._pinged_at = self._context.now  # its pong may lie unread
            if not self._is_held:
                self._transport.resume_reading()

    # -- transport -------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._deaf:
            return
        if not self._is_open:
            self._backlog += data  # a client that does not wait for the end of the handshake
            if len(self._backlog) > SLICE:
                self._lose(ABNORMAL)
                self._transport.abort()
            return
        if not self._take_whole(data) and not self._take_large(data):
            self._parse(self._library(), data)
        if self._transport.get_write_buffer_size() > self._options.outbox_bytes and self._connection is not None:
            self._connection.overflow()

    def eof_received(self) -> bool:
        """The client half-closed; there is no use in that for a WebSocket."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._connections.discard(self)
        self._context.tickers.discard(self)
        self._lose(ABNORMAL)

    # -- the server ------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Send pings, miss pongs, notice a client that takes nothing, end a closing handshake."""
        if self._closing_at:
            if now >= self._closing_at:
                self._transport.abort()
            return
        if not self._is_open:
            return
        self._check_progress(now)
        options = self._options
        if not options.ping_interval:
            return
        if self._ping is not None:
            if options.ping_timeout and now - self._pinged_at >= options.ping_timeout and not self._paused:
                self._fail(_INTERNAL_ERROR, "ping timeout")
                self._hang_up()
                if self._transport.get_write_buffer_size():
                    self._transport.abort()
        elif now - self._pinged_at >= options.ping_interval:
            self._ping = secrets.token_bytes(4)
            self._pinged_at = now
            self._write(ping_frame(self._ping))

    def shutdown(self) -> None:
        """Close because the server ends; see `WebSocketConnection.stop`."""
        if self._connection is not None:
            self._connection.stop()
        else:
            self._hang_up()

    # -- to another process ----------------------------------------------------------------------

    @property
    def may_move(self) -> bool:
        """True if another process can go on with this connection, once it is `held`: it is open and not encrypted."""
        return (
            self._is_open
            and not self._closing_at
            and not self._transport.is_closing()
            and self._connection is not None
            and self._connection.phase is Phase.OPEN
            and self._transport.get_extra_info("sslcontext") is None
        )

    @property
    def is_handshake(self) -> bool:
        """True while consumers have not answered the handshake."""
        return self._response is not None and not self._closing_at

    @property
    def connection(self) -> WebSocketConnection:
        """The connection behind an open socket."""
        assert self._connection is not None
        return self._connection

    def hold(self) -> bool:
        """Read no more if that is possible between two messages; returns whether nothing is read now."""
        # With compression it is not the frames' own size that `_unparsed` is less by.
        left = self._unparsed if self._meter is None else self._meter.left
        if not self._is_held and not left and not self._parts:
            self._is_held = True
            self._transport.pause_reading()
        return self._is_held

    def let_go(self) -> None:
        """Read again, after `hold`."""
        if self._is_held:
            self._is_held = False
            if not self._paused and not self._transport.is_closing():
                self._transport.resume_reading()

    def give_away(self, unsent: list[Entry]) -> tuple[dict[str, Any], Parting]:
        """Leave this process, and return all that `resume` needs in another one, with the open socket; see `Parting`.

        Only while it is held, and as `WebSocketConnection.give_away` says.

        Raises:
            OSError: there is no descriptor left for it; nothing was done.
        """
        parting = Parting(self._transport, b"".join(self._kept or ()))
        self._connections.discard(self)
        self._context.tickers.discard(self)
        state = {
            "paused": self._paused,
            "ping": self._ping,
            "pinged_at": self._pinged_at,
            "extensions": [extension_state(extension) for extension in self._extensions],
            "connection": self.connection.give_away(unsent),
        }
        self._connection = None
        return state, parting

    @classmethod
    async def resume_from(
        cls, context: Context, connections: set[Any], state: dict[str, Any], opened: socket.socket
    ) -> WebSocketProtocol:
        """Go on with a connection that another process has given away."""
        protocol = cls(context, connections, None)  # type: ignore[arg-type]  # `connection_made` follows
        protocol._paused = state["paused"]
        protocol._ping, protocol._pinged_at = state["ping"], state["pinged_at"]
        protocol._extensions = [extension_from(extension) for extension in state["extensions"]]
        protocol._resumed = state
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, opened)
        if protocol._connection is None:  # the loop has logged why
            protocol._hang_up()
            raise ValueError("its state cannot be gone on with")
        if protocol._paused:  # reading begins after `connection_made`
            protocol._transport.pause_reading()
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket of a connection that another process had is open here."""
        state, self._resumed = self._resumed, None
        self._transport = transport  # type: ignore[assignment]
        self._is_open = True
        if state["unsent"]:
            self._write(state["unsent"])
        self._connection = WebSocketConnection.resume(self._context, state["connection"], self)

    def _keep(self, data: bytes, waiting: int) -> None:
        """Remember the bytes that the transport may not have sent: no transport gives them back."""
        kept = self._kept
        assert kept is not None
        kept.append(data)
        self._kept_bytes += len(data)
        while self._kept_bytes - len(kept[0]) >= waiting and len(kept) > 1:
            self._kept_bytes -= len(kept.popleft())

    # -- frames ----------------------------------------------------------------------------------

    def _take_whole(self, data: bytes) -> bool:
        """Take the usual read, one whole message, past the library, if that stands between two messages."""
        if self._unparsed or self._parts or self._extensions:
            return False
        message = whole_message(data, self._options.websocket_max_message)
        if message is None:
            return self._take_pong(data)
        self._is_text, payload = message
        self._message(payload)
        return True

    def _take_pong(self, data: bytes) -> bool:
        """The same for a pong: nearly all sockets are silent but for these."""
        pong = whole_pong(data)
        if pong is not None and pong == self._ping:
            self._ping = None
        return pong is not None

    def _take_large(self, data: bytes) -> bool:
        """Take a part of a large message past the library, which copies it more often."""
        large, start = self._large, 0
        if large is None:
            if self._unparsed or self._parts or self._extensions:
                return False
            large = LargeMessage.begin(data, self._options.websocket_max_message)
            if large is None:
                return False
            start = large.received
        rest = large.add(data, start)
        if not large.is_complete:
            self._large, self._unparsed = large, large.received
            return True
        self._large, self._unparsed = None, 0
        self._is_text = large.is_text
        self._message(large.payload())
        if rest:
            self.data_received(rest)
        return True

    def _library(self) -> ServerProtocol:
        """The library's parser for all other frames, made on demand, since it is larger than the rest."""
        if self._frames is None:
            limit = self._options.websocket_max_message
            # It holds the compressed frames to the limit as well, which may be larger than what is in them.
            most = limit + limit // 7 + 64 if self._extensions else limit
            self._frames = ServerProtocol(state=State.OPEN, max_size=most, logger=logger)
            self._frames.extensions = self._extensions
            if self._extensions and self._kept is not None:
                self._meter = Meter()
                self._frames.extensions = [*self._extensions, self._meter]
        return self._frames

    def _parse(self, frames: ServerProtocol, data: bytes) -> None:
        self._unparsed += len(data)
        if self._meter is not None:
            self._meter.left += len(data)
        for start in range(0, len(data), SLICE):
            frames.receive_data(data[start : start + SLICE] if len(data) > SLICE else data)
            for frame in frames.events_received():
                self._take(frame)
            if frames.parser_exc is not None or self._deaf or self._transport.is_closing():
                break
        self._flush()
        if frames.parser_exc is not None and not self._deaf:
            code = int(frames.close_sent.code) if frames.close_sent is not None else ABNORMAL
            self._lose(code, cause="message too big" if code == TOO_BIG else "protocol error")
            self._linger()

    def _take(self, frame: Any) -> None:
        # The least it can have been, so that 0 is only reached where the library waits for a new frame;
        # after a frame with a longer head than it needed, never again.
        self._unparsed -= least_size(len(frame.data))
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            if frame.fin:
                if not self._is_too_big(frame.data):
                    self._message(frame.data)
            else:
                self._parts = []
                self._decoder = _new_decoder() if self._is_text else None
                self._add_part(frame)
        elif opcode is Opcode.CONT:
            self._add_part(frame)
        elif opcode is Opcode.PONG:
            if frame.data == self._ping:
                self._ping = None
        elif opcode is Opcode.CLOSE:
            self._client_closed()

    def _add_part(self, frame: Any) -> None:
        """Take a fragment; text is checked as it arrives, so that a wrong byte ends the message at once."""
        data = frame.data
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data, frame.fin)
            except UnicodeDecodeError:
                self._fail(_INVALID_DATA, _NOT_UTF8)
                return
        self._parts.append(data)
        if len(self._parts) > self._options.websocket_max_fragments:
            self._fail(TOO_BIG, "too many fragments")
        elif frame.fin:
            parts, self._parts, text = self._parts, [], self._decoder is not None
            self._decoder = None
            content = "".join(parts) if text else b"".join(parts)
            if not self._is_too_big(content):
                self._pass_on(content)

    def _is_too_big(self, content: str | bytes) -> bool:
        """Refuse what was too big before it was compressed, for which the library has left room."""
        if not self._extensions:
            return False
        size = len(content.encode() if isinstance(content, str) else content)
        if size > self._options.websocket_max_message:
            self._fail(TOO_BIG, "message too big")
        return size > self._options.websocket_max_message

    def _message(self, data: bytes) -> None:
        if not self._is_text:
            self._pass_on(bytes(data))
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self._fail(_INVALID_DATA, _NOT_UTF8)
        else:
            self._pass_on(text)

    def _pass_on(self, content: str | bytes) -> None:
        if self._connection is not None and not self._closing_at:
            self._connection.received(content)

    def _client_closed(self) -> None:
        received = self._library().close_rcvd
        self._flush()
        if received is None:
            self._lose(_NO_STATUS)
        else:
            self._lose(int(received.code), received.reason)
        self._hang_up()

    def _fail(self, code: int, reason: str) -> None:
        """Close at once because of what the client did or did not do (RFC 6455, section 7.1.7)."""
        if self._is_open and not self._closing_at:
            self._library().fail(code, reason)
            self._flush()
        self._lose(code, reason, reason)
        self._linger()

    def _check_progress(self, now: float) -> None:
        waiting = self._transport.get_write_buffer_size()
        taken = self._written - waiting
        self._context.facts.counting_bytes += waiting
        if not waiting and self._kept:
            self._kept.clear()
            self._kept_bytes = 0
        if not waiting or taken != self._taken:
            self._taken, self._progress = taken, now
        elif now - self._progress >= self._options.outbox_timeout and self._connection is not None:
            self._connection.overflow()

    def _lose(self, code: int, reason: str = "", cause: str = BY_CLIENT) -> None:
        if self._connection is not None:
            self._connection.lost(code, reason, cause)

    def _flush(self) -> None:
        if self._frames is not None:
            for data in self._frames.data_to_send():
                if data:
                    self._write(data)

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        if not self._transport.is_closing():
            self._transport.write(data)
            if self._kept is not None:
                self._keep(data, self._transport.get_write_buffer_size())

    def _linger(self) -> None:
        """Let a client that is still sending read why it is closed; an open socket with unread data resets."""
        self._deaf = True
        self._closing_at = self._context.now + self._options.close_timeout
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _hang_up(self) -> None:
        """Close the transport once it has sent what waits, or after the close timeout."""
        self._closing_at = self._context.now + self._options.close_timeout
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()
