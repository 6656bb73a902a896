"""One HTTP request and its response: from body and deadlines to what goes out on the wire.

No I/O happens here, as in `websocket_connection`: events come in as method calls, bytes go out
through a `ResponseWriter`, messages through the gateway's uplink.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, InvalidMessage, MessageTooLarge

from .access_log import printable
from .messages import BODY_PATTERN, FLOW_PATTERN, HTTP_DISCONNECT, HTTP_REQUEST, Scope
from .replies import Reply
from .responses import BadResponse, Head, content_of
from .uplink import Entry

if TYPE_CHECKING:
    from .gateway import Gateway

logger = logging.getLogger("interface_server.http")

REPORT_BYTES = 524_288

_REASONS = {
    400: "The request cannot be understood.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    500: "The application failed to answer, or answered with something that is no HTTP response.",
    503: "The service is overloaded or restarting. Please try again in a few seconds.",
    504: "The application did not answer in time.",
}


class ResponseWriter(Protocol):
    """The client's side of an exchange. No call blocks; framing is the writer's business."""

    def start(self, head: Head, content: bytes, more: bool) -> None:
        """Begin the response; it is complete unless there is ``more``."""

    def write(self, content: bytes, more: bool) -> None:
        """Continue it."""

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is incomplete."""

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""

    def pause(self) -> None:
        """Take no further body bytes from the client for now."""

    def resume(self) -> None:
        """Take body bytes again."""

    def expect(self) -> None:
        """The body is wanted now (``100 Continue``)."""


class Phase(enum.Enum):
    """How far an exchange is."""

    GATHERING = "gathering"  # the body, as far as it travels in the request message
    WAITING = "waiting"  # for the beginning of the response
    RESPONDING = "responding"
    DONE = "done"


class HttpExchange:
    """One request and its response.

    Args:
        gateway: what the process shares.
        local: unguessable local part of the reply channel.
        scope: an ASGI ``http`` scope with cleaned headers.
        writer: the client's side.
    """

    def __init__(self, gateway: Gateway, local: str, scope: Scope, writer: ResponseWriter) -> None:
        self.channel = gateway.name + local
        self.phase = Phase.GATHERING
        self._gateway = gateway
        self._local = local
        self._scope = scope
        self._writer = writer
        self._started = gateway.clock()
        self._opened = gateway.now
        self._begun = False
        self._buffer = bytearray()
        self._received = 0
        self._all_received = False
        self._body_channel: str | None = None
        self._chunk: Entry | None = None
        self._last_chunk_queued = False
        self._deadline = 0.0
        self._gone = False
        self._status = 0
        self._written = 0
        self._reported = 0
        self._drained = 0
        self._progress = gateway.now

    # -- from the client -------------------------------------------------------------------------

    def begin(self, expected: int | None = None) -> None:
        """The exchange has its turn on the connection; what was fed before is taken up.

        Args:
            expected: the body's length as far as the request says it.
        """
        self._begun = True
        gateway = self._gateway
        gateway.connections[self._local] = self
        self._deadline = gateway.now + gateway.options.body_timeout
        if gateway.stopping or gateway.uplink.down is not None:
            self.fail(503)
        elif expected is not None and expected > gateway.options.body_max:
            self.fail(413)
        elif self._all_received:
            self.end()
        else:
            self._writer.expect()
            self._pump()

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        if self.phase is Phase.DONE or self._all_received:
            return
        self._received += len(data)
        self._buffer += data
        if not self._begun:
            return
        self._deadline = max(self._deadline, self._gateway.now + self._gateway.options.body_timeout)
        if self._received > self._gateway.options.body_max:
            self.fail(413)
        else:
            self._pump()

    def end(self) -> None:
        """The body is complete."""
        self._all_received = True
        if not self._begun or self.phase is Phase.DONE:
            return
        if self._body_channel is None and len(self._buffer) <= self._gateway.options.body_inline:
            self._request()
        else:
            self._deadline = self._gateway.now + self._gateway.options.http_timeout
            self._pump()

    def gone(self) -> None:
        """The client left; later calls do nothing."""
        if self.phase is Phase.DONE:
            return
        self._gone = True
        self._finish(self._status or 499)

    # -- from the consumers ----------------------------------------------------------------------

    def deliver(self, message: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> None:
        """The response's beginning or its next chunk."""
        if headers is not None and headers.get("failed"):
            self.fail(500)
        if not message or self.phase is Phase.DONE:
            return
        try:
            if message.get("closed"):
                self._broken_off()
            elif self.phase is Phase.RESPONDING:
                self._continue(content_of(message), bool(message.get("more_content")))
            else:
                self._respond(Head(message), content_of(message), bool(message.get("more_content")))
        except BadResponse as error:
            logger.error("the response to %s was dropped: %s", self._describe(), error)
            self.fail(500)

    def _broken_off(self) -> None:
        """The producer of the response gave up; a shorter response must not pass for a whole one."""
        if self.phase is Phase.RESPONDING:
            self._cut("its producer broke off")
        else:
            self.fail(500)

    def apply(self, reply: Reply) -> None:
        """A message through a group: an answer to all requests that wait in it."""
        self.deliver(reply.message)

    # -- from the uplink -------------------------------------------------------------------------

    def sent(self, item: Outgoing) -> None:
        """A chunk of the body was stored."""
        self._chunk = None
        if self.phase is not Phase.DONE:
            self._deadline = self._gateway.now + self._gateway.options.http_timeout
            self._pump()

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """The request or a chunk of its body was not stored, or nobody knows whether it was."""
        if self.phase is not Phase.DONE:
            if item.target == HTTP_REQUEST:
                self.phase = Phase.GATHERING  # no consumer knows of it
            if not isinstance(error, ChannelFull):
                logger.warning("%s was refused: %s", self._describe(), error)
            self.fail(503)

    # -- from the server -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the deadlines and the client's progress."""
        if self.phase is Phase.RESPONDING:
            self.report()
            drained = self._written - self._writer.buffered()
            if drained != self._drained or drained == self._written:
                self._drained, self._progress = drained, now
            elif now - self._progress >= self._gateway.options.http_timeout:
                self._cut("its client stopped reading")
        elif self.phase is not Phase.DONE and now >= self._deadline:
            if not self._all_received and self._chunk is None:
                self.fail(408)
            else:
                logger.warning("no consumer answered %s in time", self._describe())
                self.fail(504)

    def stop(self) -> None:
        """The server is about to end; what is under way may finish."""

    def report(self) -> None:
        """Tell the producer of a long response how far its client has read."""
        drained = self._written - self._writer.buffered()
        if self.phase is Phase.RESPONDING and drained - self._reported >= REPORT_BYTES:
            self._reported = drained
            self._to_producer({"written": drained})

    def fail(self, status: int) -> None:
        """Answer in the consumer's place, or cut the connection if the response has begun."""
        if self.phase is Phase.DONE:
            return
        if self.phase is Phase.RESPONDING:
            self._cut("it cannot be completed")
            return
        text = _REASONS[status].encode() + b"\n"
        fields: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain; charset=utf-8")]
        if status == 503:
            fields.append((b"retry-after", b"%d" % self._gateway.options.retry_after))
        self._written = len(text)
        self._writer.start(Head({"status": status, "headers": fields}), text, False)
        self._finish(status)

    # -- the request -----------------------------------------------------------------------------

    def _request(self) -> None:
        """Send the request with a whole body or, with a body channel, with its beginning."""
        gateway = self._gateway
        inline = gateway.options.body_inline
        body = bytes(self._buffer[:inline])
        del self._buffer[:inline]
        message = gateway.messages.request(self._scope, self.channel, body, self._body_channel)
        try:
            item = gateway.layer.prepare(HTTP_REQUEST, message, {"flow": FLOW_PATTERN + self._local})
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("refused a request that cannot be carried: %s", error)
            self.fail(400 if isinstance(error, InvalidMessage) else 413)
            return
        if gateway.trace:
            logger.debug("%s %s to http.request", self._describe(), self.channel)
        if gateway.uplink.put(item, self) is None:
            self.fail(503)
            return
        self.phase = Phase.WAITING
        self._deadline = gateway.now + gateway.options.http_timeout

    def _pump(self) -> None:
        """Move the body on: at most one chunk is under way, and little more is read ahead."""
        options = self._gateway.options
        if self._body_channel is None:
            if len(self._buffer) <= options.body_inline:
                return
            self._body_channel = BODY_PATTERN + self._local
            self._request()
        if self.phase is Phase.DONE or self._last_chunk_queued:
            return
        if self._chunk is None and (self._all_received or len(self._buffer) >= options.body_chunk):
            self._send_chunk(options.body_chunk)
        if len(self._buffer) > 2 * options.body_chunk:
            self._writer.pause()
        elif not self._all_received:
            self._writer.resume()

    def _send_chunk(self, size: int) -> None:
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._last_chunk_queued = self._all_received and not self._buffer
        message = {"content": content, "closed": False, "more_content": not self._last_chunk_queued}
        item = self._gateway.layer.prepare(self._body_channel, message)
        self._chunk = self._gateway.uplink.put(item, self, patient=True, report=True)
        if self._chunk is None:
            self.fail(503)

    # -- the response ----------------------------------------------------------------------------

    def _respond(self, head: Head, content: bytes, more: bool) -> None:
        bodiless = head.bodiless(self._scope["method"])
        if not more and not bodiless and head.length is not None and head.length != len(content):
            raise BadResponse(f"its content length says {head.length}, its content has {len(content)} bytes")
        self._status = head.status
        self._written = len(content)
        self._writer.start(head, content, more)
        if more:
            self.phase = Phase.RESPONDING
            self._progress = self._gateway.now
            self._check_flow()
        else:
            self._finish(head.status)

    def _continue(self, content: bytes, more: bool) -> None:
        self._written += len(content)
        self._writer.write(content, more)
        if not more:
            self._finish(self._status)
        else:
            self._check_flow()

    def _check_flow(self) -> None:
        if self._writer.buffered() > self._gateway.options.response_buffer:
            self._cut("its producer does not wait for the client")
        else:
            self.report()

    def _cut(self, reason: str) -> None:
        logger.warning("cut off the response to %s: %s", self._describe(), reason)
        self._gone = True
        self._writer.abort()
        self._finish(self._status)

    def _finish(self, status: int) -> None:
        """Leave; tell the consumers if they are still at work on this."""
        dispatched = self.phase in (Phase.WAITING, Phase.RESPONDING)
        complete = not self._gone and self._status == status and status != 0
        self.phase = Phase.DONE
        self._gateway.connections.pop(self._local, None)
        if self._gateway.now != self._opened:
            # Only who waits is put into groups, and forgetting is work for every request.
            self._gateway.forget([self.channel])
        self._buffer.clear()
        if dispatched and not complete:
            self._say_gone()
        if self._begun and self._gateway.access_log.enabled:
            seconds = self._gateway.clock() - self._started
            self._gateway.access_log.request(self._scope, status, self._written, seconds)

    def _say_gone(self) -> None:
        if self._chunk is not None:
            self._chunk.cancelled = True
        if self._body_channel is not None and not self._last_chunk_queued:
            closed = {"content": b"", "closed": True, "more_content": False}
            self._gateway.uplink.put(self._gateway.layer.prepare(self._body_channel, closed), patient=True)
        self._to_producer({"closed": True})
        message = {"reply_channel": self.channel, "path": self._scope["path"]}
        self._gateway.uplink.put(self._gateway.layer.prepare(HTTP_DISCONNECT, message))

    def _to_producer(self, message: dict[str, Any]) -> None:
        self._gateway.uplink.put(self._gateway.layer.prepare(FLOW_PATTERN + self._local, message))

    def _describe(self) -> str:
        return printable(f"{self._scope['method']} {self._scope['path']}")
