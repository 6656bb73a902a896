"""One HTTP request and its response: from body and deadlines to what goes out on the wire.

No I/O happens here, as in `websocket.connection`: events come in as method calls, bytes go out
through a `ResponseWriter`, messages through the uplink.
"""

from __future__ import annotations

import enum
import logging
import secrets
import time

from channel_layer import tracing
from channel_layer.delivery import Content, Headers, Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, InvalidMessage, InvalidName, MessageTooLarge
from channel_layer.messages import FLOW_PATTERN, HTTP_DISCONNECT, HTTP_REQUEST, ResponseReport
from channel_layer.questions import MOST_PATH

from ..bridge import spans
from ..bridge.broadcast import Broadcast
from ..bridge.connection import ConnectionFacts, Details, Kind
from ..bridge.context import Context
from ..bridge.messages import Scope, client_of, with_length
from ..bridge.replies import Reply
from ..logs.server_log import printable
from ..spool.spool import LEAST
from ..wire.responses import BadResponse, Head, beginning_of, content_of, is_push
from .download import PIECE, Download, ResponseWriter, piece_size
from .rules import closed_body, end_of_exchange, own_answer, status_of
from .upload import Upload

logger = logging.getLogger("interface_server.http")

LOST_SECONDS = 100.0
"""Silence after which the producer of a response counts as gone. It asks for a heartbeat after 30 s."""


class ExchangePhase(enum.Enum):
    """Progress of an exchange."""

    GATHERING = "gathering"  # the body
    WAITING = "waiting"  # for the beginning of the response
    RESPONDING = "responding"
    EMPTYING = "emptying"  # the producer is done, its client is still reading
    DONE = "done"


class HttpExchange:
    """One request and its response.

    Args:
        context: what the process shares.
        scope: an ASGI ``http`` scope with cleaned headers.
        writer: the client's side.
    """

    __slots__ = (
        "_all_received", "_begun", "_bodiless", "_context", "_deadline", "_download", "_flow", "_gone", "_has_body",
        "_heard", "_is_endless", "_is_short_of_room", "_local", "_opened", "_piece", "_progress", "_scope",
        "_sent_at", "_span", "_started", "_status", "_upload", "_writer", "_written", "channel", "phase",
    )  # fmt: skip

    kind = Kind.REQUEST
    user = None
    last_will = None

    def __init__(self, context: Context, scope: Scope, writer: ResponseWriter) -> None:
        local = secrets.token_urlsafe(12)  # unguessable, since who knows it may answer
        scope = context.messages.seen(scope)
        self.channel = context.name + local
        self.phase = ExchangePhase.GATHERING
        self._context = context
        self._local = local
        self._scope = scope
        self._writer = writer
        self._started = time.monotonic()
        self._opened = context.now
        self._begun = False
        self._piece = b""
        self._upload: Upload | None = None
        self._has_body = False
        self._all_received = False
        self._deadline = 0.0
        self._gone = False
        self._sent_at = 0.0
        self._is_endless = False
        self._status = 0
        self._written = 0
        self._flow = FLOW_PATTERN + local
        self._heard = context.now
        self._download: Download | None = None
        self._bodiless = False
        self._is_short_of_room = False
        self._progress = context.now
        self._span = spans.of_request(scope) if tracing.is_on else None

    @property
    def path(self) -> str:
        """See `Connection.path`."""
        path: str = self._scope["path"]
        return path

    # -- for operators ---------------------------------------------------------------------------

    def facts(self) -> ConnectionFacts:
        """See `Connection.facts`."""
        return {
            "path": self.path[:MOST_PATH],
            "client": client_of(self._scope),
            "age": self._context.now - self._opened,
            "state": self.phase.value,
            "user": None,
            "worker": None,
        }

    def details(self) -> Details:
        """See `Connection.details`."""
        return {
            "consumer": None,
            "turn": None,
            "outbox_bytes": self._writer.buffered(),
            "read_ahead_bytes": 0,
            "frames": None,
            "events": None,
        }

    def close_for_operator(self, code: int, reason: str) -> bool:
        """See `Connection.close_for_operator`: a request is answered by its consumer alone."""
        return False

    # -- from the client -------------------------------------------------------------------------

    def begin(self, expected: int | None = None) -> None:
        """The exchange has its turn on the connection; what was fed before is taken up.

        Args:
            expected: the body's length, if the request gives it.
        """
        self._begun = True
        context = self._context
        context.facts.requesting += 1
        options = context.options
        context.connections[self._local] = self
        self._has_body = expected != 0
        self._deadline = context.now + options.body_timeout
        if context.stopping or context.uplink.down is not None:
            self.fail(503)
        elif expected is not None and expected > options.body_max:
            self.fail(413)
        elif self._all_received:
            self.end()
        elif expected is not None and expected > options.body_memory and not context.spools.file.has_room:
            self._no_room("the limit of all spooled bodies is reached")
        else:
            self._writer.expect()
            self._take_in()

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        if self.phase is ExchangePhase.DONE or self._all_received:
            return
        options = self._context.options
        upload = self._upload
        if upload is None:
            if not self._piece and len(data) <= min(LEAST, options.body_inline, options.body_max):
                self._piece = data  # most bodies are this one piece, and need no more
                return
            upload = self._upload = Upload(self._context, self._local, self, self._body_moved)
            upload.feed(self._piece)
        upload.feed(data)
        if not self._begun:
            return
        self._deadline = max(self._deadline, self._context.now + options.body_timeout)
        if upload.received > options.body_max:
            self.fail(413)
        else:
            self._take_in()

    def end(self) -> None:
        """The body is complete."""
        self._all_received = True
        if self._upload is not None:
            self._upload.complete = True
        if not self._begun or self.phase is ExchangePhase.DONE:
            return
        self._deadline = self._context.now + self._context.options.http_timeout
        if self._upload is None:
            self._request(self._piece)
        else:
            if self._upload.is_behind:
                self._writer.resume()  # else nobody would notice that the client leaves
            self._take_in()

    def gone(self) -> None:
        """The client left; later calls do nothing."""
        if self.phase is ExchangePhase.DONE:
            return
        self._gone = True
        self._finish(self._status or 499)

    # -- from the consumers ----------------------------------------------------------------------

    def deliver(self, message: Content, headers: Headers | None = None) -> None:
        """The response's beginning or its next chunk."""
        if headers is not None:
            self._take_headers(headers, alone=not message)
        self._heard = self._context.now
        if not message or self.phase in (ExchangePhase.EMPTYING, ExchangePhase.DONE) or is_push(message):
            return
        try:
            if message.get("closed"):
                self._broken_off()
            elif self.phase is ExchangePhase.RESPONDING:
                self._continue(content_of(message), bool(message.get("more_content")))
            else:
                self._respond(*beginning_of(message, self._scope["method"]))
        except BadResponse as error:
            logger.error("the response to %s was dropped: %s", self._describe(), error)
            self.fail(500)

    def _take_headers(self, headers: Headers, alone: bool) -> None:
        flow, count = headers.get("flow"), headers.get("read")
        if isinstance(flow, str):
            self._flow = flow
            if alone:  # it asks for a heartbeat
                self._to_producer({"written": 0 if self._download is None else self._download.reported})
        if type(count) is int and self._upload is not None and self.phase is not ExchangePhase.DONE:
            self._deadline = self._context.now + self._context.options.http_timeout
            self._upload.read(count)
            self._upload.push()
        if headers.get("ends"):
            self._context.tells_of_ends = True
        if headers.get("failed"):
            self.fail(500)

    def _broken_off(self) -> None:
        """The producer of the response gave up; a shorter response must not pass for a whole one."""
        if self.phase is ExchangePhase.RESPONDING:
            self._cut("its producer broke off")
        else:
            self.fail(500)

    def apply(self, reply: Reply) -> None:
        """A message through a group: an answer to all requests that wait in it."""
        self.deliver(reply.message)

    def take_shared(self, broadcast: Broadcast) -> None:
        """See `Connection.take_shared`: no application of Channels 2 to 4 is behind it."""
        logger.error("a message with a type was ignored: %s is a request", self.channel)

    def hear_shared(self, reply: Reply, epoch: int, turn: int) -> None:
        """See `Connection.hear_shared`."""

    def has_moved_on(self, epoch: int) -> bool:
        """See `Connection.has_moved_on`."""
        return False

    # -- from the uplink -------------------------------------------------------------------------

    def sent(self, item: Outgoing) -> None:
        """A chunk of the body was stored."""
        if self.phase is not ExchangePhase.DONE and self._upload is not None:
            self._deadline = self._context.now + self._context.options.http_timeout
            self._upload.stored()
            self._take_in()

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """The request or a chunk of its body was not stored, or nobody knows whether it was."""
        if self.phase is not ExchangePhase.DONE:
            if item.target == HTTP_REQUEST:
                self.phase = ExchangePhase.GATHERING  # no consumer knows of it
            if not isinstance(error, ChannelFull):
                logger.warning("%s was refused: %s", self._describe(), error)
            self.fail(503)

    # -- from the server -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the deadlines and the client's progress."""
        if self._upload is not None and self._upload.channel is not None:
            self._upload.tick()
        if self.phase is ExchangePhase.RESPONDING and now - self._heard >= LOST_SECONDS and self._named_flow:
            self._cut("its producer gives no heartbeat")
            return
        if self._download is not None:
            if self._download.has_moved():
                self._progress = now
            elif now - self._progress >= self._context.options.http_timeout:
                self._cut("its client stopped reading")
        elif self.phase is not ExchangePhase.DONE and now >= self._deadline:
            if self.phase is ExchangePhase.WAITING and self._all_received:
                text = f"no consumer answered {self._describe()} in time"
                self._context.unanswered.report(text, HTTP_REQUEST, now - self._sent_at)
                self.fail(504)
            elif self._upload is not None and (self._all_received or self._upload.is_behind):
                self._no_room("the disk takes too long")
            else:
                self.fail(408)

    def stop(self, reconnect: int | None = None) -> None:
        """The server is about to end; what is under way may finish."""

    def is_deserted(self, seconds: float) -> bool:
        """True if it waits for a worker and no worker has taken a message off the channel for so many seconds."""
        waits = self.phase is ExchangePhase.WAITING
        return waits and self._context.backlog.is_deserted(HTTP_REQUEST, self._sent_at, seconds)

    def release(self) -> None:
        """Answer 503 instead of waiting for a consumer."""
        self.fail(503)

    def end_stream(self) -> bool:
        """Cut the response if it is of unknown length and still being produced; returns whether it was."""
        is_stream = self.phase is ExchangePhase.RESPONDING and self._is_endless
        if is_stream:
            self._cut("the server stops")
        return is_stream

    def drained(self) -> None:
        """The client has taken what the connection held."""
        if self._download is not None:
            self._download.pump()
            self._check_response()

    def fail(self, status: int) -> None:
        """Answer in the consumer's place, or cut the connection if the response has begun."""
        if self.phase in (ExchangePhase.EMPTYING, ExchangePhase.DONE):
            return  # the response is here
        if self.phase is ExchangePhase.RESPONDING:
            self._cut("it cannot be completed")
            return
        head, text = own_answer(status, self._context.options.retry_after)
        self._written = len(text)
        self._writer.start(head, text, False)
        self._finish(status)

    # -- the request -----------------------------------------------------------------------------

    @property
    def _wants_body(self) -> bool:
        return self.phase not in (ExchangePhase.EMPTYING, ExchangePhase.DONE)

    def _take_in(self) -> None:
        """Move the body on, and the request once its time has come."""
        upload = self._upload
        if upload is None or not self._wants_body:
            return
        if self.phase is ExchangePhase.GATHERING and upload.failure is None and upload.is_due:
            body = upload.beginning()
            if body is not None:
                self._request(body, upload.channel)
        if upload.channel is not None and self._wants_body:
            upload.push()
        if upload.failure is not None and self._wants_body:
            self._no_room(str(upload.failure))
        if not self._all_received and self._wants_body:
            (self._writer.pause if upload.is_behind else self._writer.resume)()

    def _body_moved(self) -> None:
        """The disk has taken some of the body, or given it back."""
        if self._begun:
            self._take_in()

    def _no_room(self, reason: str) -> None:
        logger.error("the body of %s cannot be kept: %s", self._describe(), reason)
        self.fail(503)

    def _request(self, body: bytes | bytearray, body_channel: str | None = None) -> None:
        """Send the request with a whole body or, with a body channel, with its beginning."""
        context = self._context
        scope = self._scope
        if self._has_body and self._all_received:
            scope = with_length(scope, len(self._piece) if self._upload is None else self._upload.received)
        message = context.messages.request(scope, self.channel, body, body_channel)
        try:
            headers: Headers = {"flow": self._flow}
            if self._span is not None:
                headers.update(self._span.headers)
            item = context.layer.prepare(HTTP_REQUEST, message, headers)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("refused a request that cannot be carried: %s", error)
            self.fail(status_of(error))
            return
        if context.trace:
            logger.debug("%s %s to http.request", self._describe(), self.channel)
        if context.uplink.put(item, self) is None:
            self.fail(503)
            return
        self.phase = ExchangePhase.WAITING
        self._sent_at = context.now
        self._deadline = context.now + context.options.http_timeout

    # -- the response ----------------------------------------------------------------------------

    def _respond(self, head: Head, content: bytes, more: bool) -> None:
        bodiless = head.bodiless(self._scope["method"])
        self._status = head.status
        if not more and (bodiless or len(content) <= PIECE or len(content) <= piece_size(self._context.spools)):
            self._written = len(content)
            self._writer.start(head, content, False)
            self._finish(head.status)
            return
        self._bodiless = bodiless
        if not more:
            head.length = len(content)
        self.phase = ExchangePhase.RESPONDING
        self._is_endless = head.length is None
        self._progress = self._context.now
        first = b"" if bodiless else content[: piece_size(self._context.spools)]
        context = self._context
        self._download = Download(context.spools, context.options, self._writer, self._response_moved, len(first))
        self._writer.start(head, first, True)
        self._continue(content[len(first) :], more)

    def _continue(self, content: bytes, more: bool) -> None:
        assert self._download is not None
        if not more:
            self.phase = ExchangePhase.EMPTYING
            if self._upload is not None:
                self._upload.close()
        if not self._bodiless or not more:
            self._download.put(b"" if self._bodiless else content, more)
        self._check_response()

    def _response_moved(self) -> None:
        """The disk has taken some of the response, or given it back."""
        if self._download is not None and self.phase is not ExchangePhase.DONE:
            if self._download.failure is not None and not self._is_short_of_room:
                self._is_short_of_room = True
                logger.error("the response to %s waits in memory: %s", self._describe(), self._download.failure)
            self.drained()

    def _check_response(self) -> None:
        download = self._download
        if download is None or self.phase is ExchangePhase.DONE:
            return
        if download.is_over:
            self._finish(self._status)
            return
        problem = download.problem()
        if problem is not None:
            self._cut(problem)
            return
        taken = download.report()
        if taken is not None:
            self._to_producer({"written": taken})

    def _cut(self, reason: str) -> None:
        logger.warning("cut off the response to %s: %s", self._describe(), reason)
        self._gone = True
        self._writer.abort()
        self._finish(self._status)

    def _finish(self, status: int) -> None:
        """Leave; tell the consumers if they are still at work on this."""
        dispatched = self.phase not in (ExchangePhase.GATHERING, ExchangePhase.DONE)
        produced = self.phase is ExchangePhase.EMPTYING
        complete = not self._gone and self._status == status and status != 0
        self.phase = ExchangePhase.DONE
        self._context.connections.pop(self._local, None)
        if self._context.now != self._opened:
            # Only a request that waits can be in a group, and removing costs work for each request.
            self._context.departures.add([self.channel])
        body_channel = self._upload.close() if self._upload is not None else None
        if body_channel is not None and dispatched and not complete:
            self._context.uplink.put(self._context.layer.prepare(body_channel, closed_body()), patient=True)
        if self._download is not None:
            self._written = self._download.given
            self._download.close()
        if dispatched and not complete and not produced:
            self._to_producer({"closed": True})
        if dispatched and (not complete or self._context.tells_of_ends):
            message = end_of_exchange(self._scope, self.channel)
            self._context.uplink.put(self._context.layer.prepare(HTTP_DISCONNECT, message))
        if self._span is not None:
            failure = f"answered {status}" if status >= 500 else None
            self._span.end(failure, {"http.response.status_code": status})
        if self._begun:
            seconds = time.monotonic() - self._started
            self._context.facts.answered(status, seconds)
        if self._begun and self._context.access_log.enabled:
            self._context.access_log.request(self._scope, status, self._written, seconds)

    def _to_producer(self, message: ResponseReport) -> None:
        try:
            item = self._context.layer.prepare(self._flow, message)
        except InvalidName as error:
            logger.error("the producer of the response to %s hears nothing: %s", self._describe(), error)
            return
        self._context.uplink.put(item)

    @property
    def _named_flow(self) -> bool:
        """True if the producer named a channel for reports. Such a producer gives heartbeats."""
        return not self._flow.startswith(FLOW_PATTERN)

    def _describe(self) -> str:
        return printable(f"{self._scope['method']} {self._scope['path']}")
