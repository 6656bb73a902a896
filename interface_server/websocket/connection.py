"""One WebSocket between a client and the consumers: the states of its handshake, its turns, its end.

No I/O happens here. Events come in as method calls; what is to be done goes out through a `Socket`
and the uplink. Every ``websocket.connect`` that was sent is followed by exactly one
``websocket.disconnect``.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import secrets
from math import inf
from typing import Any, NamedTuple

from channel_layer import tracing
from channel_layer.delivery import Content, Headers, Message, Outgoing
from channel_layer.exceptions import ChannelLayerError, InvalidMessage, MessageTooLarge
from channel_layer.messages import CONNECT, DISCONNECT, RECEIVE, DisconnectMessage, ReceiveMessage
from channel_layer.names import split
from channel_layer.questions import MOST_PATH
from channel_layer.state import MARK
from channel_layer.tracing import Turn

from ..bridge import spans
from ..bridge.broadcast import Broadcast
from ..bridge.connection import ConnectionFacts, Details, Kind, TurnFacts
from ..bridge.context import Context
from ..bridge.messages import Scope, client_of
from ..bridge.replies import (
    NORMAL_CLOSURE,
    BadReply,
    Denial,
    Reply,
    accepting_fields,
    agreed_subprotocol,
    denial_of,
    refuses,
)
from ..bridge.states import State
from ..bridge.uplink import Entry
from ..facts import BY_CLIENT, BY_CONSUMER, BY_OPERATOR, path_pattern
from ..logs.server_log import printable
from ..wire.websocket_frames import ABNORMAL, GOING_AWAY, INTERNAL_ERROR, SERVICE_RESTART, TOO_BIG, TRY_AGAIN_LATER
from .client_socket import Socket
from .lease import Lease
from .recent import CLOSING, EVENT, OPENED, PAUSED, RECEIVED, RESUMED, SENT, TURN_OVER, WORKER, Recent
from .slow_turns import LOOK_SECONDS, SlowTurn

logger = logging.getLogger("interface_server.websocket")

READ_AHEAD_MESSAGES = 64
READ_AHEAD_BYTES = 65_536
UNORDERED_WINDOW = 16
HELD_REPLIES = 64
"""Messages through groups that wait for the end of a handshake."""


class Phase(enum.Enum):
    """State of a connection."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"


# Looked up for every frame, several times: through the class it takes ten times as long in Python 3.11.
HANDSHAKE, OPEN, CLOSED = Phase


class Closing(NamedTuple):
    """The end of a connection, behind the frames that came before it."""

    code: int
    reason: str


class WebSocketConnection:
    """One WebSocket.

    A small number of messages is read ahead while a turn is under way, so that a close, a pong or the loss
    of the client is noticed at once; past `READ_AHEAD_BYTES` the socket is not read.

    Args:
        context: what the process shares.
        scope: an ASGI ``websocket`` scope with cleaned headers.
        socket: the client's side.
        local: of a connection that another process had before, the local part of its name.

    Attributes:
        user: name of the user, once a worker has told it.
    """

    kind = Kind.WEBSOCKET

    # Without a dict, which takes up to 1.3 KiB and more of the cache when a group of thousands goes through them all.
    __slots__ = (
        "_client", "_context", "_direct", "_ended", "_entry", "_entry_since", "_events_held", "_held", "_inbox",
        "_inbox_bytes", "_lease", "_order", "_ordered", "_paused", "_recent", "_root_path", "_scope", "_since", "_slow",
        "_socket", "_span", "_state", "_turn", "_turn_open", "_unsent", "channel", "path", "phase", "user",
    )  # fmt: skip

    def __init__(self, context: Context, scope: Scope, socket: Socket, local: str = "") -> None:
        if not local:
            mark = "" if context.options.unordered else MARK
            local = mark + secrets.token_urlsafe(12)  # unguessable, since who knows it may send
            scope = context.messages.seen(scope)
        self.channel = context.name + local
        self.phase = HANDSHAKE
        self._context = context
        self._scope = scope
        self.path: str = scope["path"]
        self.user: str | None = None
        self._client = client_of(scope)
        self._socket = socket
        self._ordered = not context.options.unordered
        self._inbox: list[str | bytes | Closing] = []
        self._inbox_bytes = 0
        self._paused = False
        self._turn = 0
        self._turn_open = False
        self._slow: SlowTurn | None = None
        self._entry: Entry | None = None
        self._entry_since = 0.0
        self._unsent = 0
        self._order = 0
        self._state: State | None = None
        self._root_path: str = context.options.root_path or scope.get("root_path", "")
        self._held: list[Reply] = []
        self._lease: Lease | None = None
        self._events_held: list[Message] = []
        self._ended = False
        self._span: Turn | None = None
        self._recent = Recent() if context.options.trace_events else None
        self._direct: asyncio.WriteTransport | None = None
        self._since = context.now

    @property
    def _local(self) -> str:
        """The part of the channel behind the name of the process."""
        return self.channel[len(self._context.name) :]

    @property
    def last_will(self) -> WebSocketConnection:
        """See `Connection.last_will`."""
        return self

    @property
    def is_handshake(self) -> bool:
        """True until a consumer has answered the handshake."""
        return self.phase is HANDSHAKE

    # -- from the client -------------------------------------------------------------------------

    def open(self) -> None:
        """Send ``websocket.connect``; the handshake waits for the answer."""
        context = self._context
        context.connections[self._local] = self
        context.facts.handshaking += 1
        if tracing.is_on:
            self._span = spans.of_handshake(self._scope)
        self._note("WSCONNECTING")
        try:
            item = self._prepare(CONNECT, context.messages.connect(self._scope, self.channel))
            context.last_wills.leave(item, self.channel, self.path)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("refused a handshake that cannot be carried: %s", error)
            self._refuse(400)
            return
        if context.stopping or not self._put(item, patient=False):
            self._refuse(503)

    def received(self, content: str | bytes) -> None:
        """The client sent a message."""
        if self.phase is not OPEN:
            return
        if self._recent is not None:
            self._recent.add(RECEIVED, len(content))
        if self._lease is not None:
            self._context.facts.frames += 1
            self._to_application(
                {"type": RECEIVE, "text" if isinstance(content, str) else "bytes": content}, len(content)
            )
            return
        if self._inbox or not self._may_send():
            self._inbox.append(content)
            self._hold(len(content))
            much = self._inbox_bytes > READ_AHEAD_BYTES or len(self._inbox) >= READ_AHEAD_MESSAGES
            if much or self._context.read_ahead > self._context.options.uplink_bytes:
                self._pause()
        else:
            self._send_frame(content)

    def lost(self, code: int, reason: str = "", cause: str = BY_CLIENT) -> None:
        """The client closed, with a reason or without, or is gone; later calls do nothing.

        Args:
            code, reason: what consumers are told.
            cause: see `Facts.closes`.
        """
        if self.phase is HANDSHAKE:
            self._context.facts.not_opened("left")
        if self.phase is not CLOSED:
            self._end(code, reason, cause)

    # -- from the consumers ----------------------------------------------------------------------

    def deliver(self, message: Message, headers: Headers | None) -> None:
        """A message on the reply channel: something to do, the end of the turn, or both."""
        if headers is not None and "epoch" in headers:
            self._from_application(message, headers)
            return
        if "type" in message:
            self.take(message)
            return
        self._answer(message)
        if headers is None:
            return
        if "state" in headers or "ask" in headers:
            self._state = self._context.states.hear(self._state, headers, printable(self.path))
        if "user" in headers:
            self.user = headers["user"]
        if self._turn_open:
            if headers.get("turn") != self._turn:
                if self._turn in (headers.get("begun"), headers.get("later")):
                    self._as_slow(self._context.now).hear(headers, self._context.now)
                return
            if headers.get("failed") and self.phase is HANDSHAKE:
                self._deny(500)
            if self._entry is not None and self._entry.stored_at:
                self._context.facts.turn_over(self._entry.stored_at)
            self._next()

    def take(self, event: Message) -> None:
        """A message of the layer for the application that is hosted behind this connection: a dict with a ``type``."""
        if self._lease is not None:
            if self.phase is CLOSED or self._ended:
                return
            if self._lease.is_full:
                self._context.facts.lost.add("application behind")
                logger.warning("a message for the application of %s was dropped: too many wait", printable(self.path))
                return
            if self._recent is not None:
                self._recent.add(EVENT)
            self._to_application(event, 0)
        elif self.phase is not HANDSHAKE:
            text = "a message with a type was ignored: no application of Channels 2 to 4 is behind the WebSocket %s"
            logger.error(text, printable(self.path))
        elif len(self._events_held) < HELD_REPLIES:
            self._events_held.append(event)
        else:
            self._context.facts.lost.add("handshake behind")
            logger.warning("a message to a group was dropped: the handshake of %s waits", printable(self.path))

    def take_shared(self, broadcast: Broadcast) -> None:
        """See `take`: the same for a message that others get, too."""
        lease = self._lease
        # `_ended` need not be looked at: between it and the closed phase only events that were held are taken.
        if lease is None or self.phase is CLOSED or lease.is_full:
            self.take(broadcast.content)
        else:
            if self._recent is not None:
                self._recent.add(EVENT)
            lease.join(broadcast)

    def hear_shared(self, reply: Reply, epoch: int, turn: int) -> None:
        """Take what an application says in the same words as others; see `Connection.hear_shared`."""
        lease = self._lease
        if lease is None or lease.epoch != epoch:
            return
        self._carry_out(reply)
        if turn:
            lease.done(turn)
            self._after_events()

    def has_moved_on(self, epoch: int) -> bool:
        """See `Connection.has_moved_on`."""
        return self._lease is not None and self._lease.epoch > epoch

    def _answer(self, message: Message) -> None:
        """Do what a message says."""
        if message and self.phase is HANDSHAKE and refuses(message):
            self._be_refused(message)
        elif message:
            try:
                reply = Reply(message)
            except BadReply as error:
                self._ignore_reply(error)
            else:
                self._carry_out(reply)

    def _ignore_reply(self, error: BadReply) -> None:
        logger.error("a reply to the WebSocket %s was ignored: %s", printable(self.path), error)

    def apply(self, reply: Reply) -> None:
        """Do what a reply says, once the handshake was accepted.

        It never answers the handshake itself: consumers join a socket to its groups before they decide
        about it, and a message to the others must not let in somebody whom they are about to deny.
        """
        direct = self._direct
        if direct is not None:  # all that is looked at of one among thousands: what else is far from any cache
            frame = reply.frame or reply.encode()
            if frame and not direct.is_closing():
                direct.write(frame)
                waiting = direct.get_write_buffer_size()
                if waiting and not self._socket.queued(frame, waiting):
                    self.overflow()
                return
        if self.phase is OPEN:
            payload = reply.payload
            if payload is not None:
                if self._recent is not None:
                    self._recent.add(SENT, len(payload.data))
                if not self._socket.send(payload):
                    self.overflow()
                    return
            if reply.close is not None:
                self.close(reply.close, reply.reason, BY_CONSUMER)
        elif self.phase is HANDSHAKE and len(self._held) < HELD_REPLIES:
            self._held.append(reply)
        elif self.phase is HANDSHAKE:
            self._context.facts.lost.add("handshake behind")
            logger.warning("a message to a group was dropped: the handshake of %s waits", printable(self.path))

    def _carry_out(self, reply: Reply) -> None:
        if self.phase is HANDSHAKE:
            if refuses(reply.message):
                self._be_refused(reply.message)
                return
            if not self._answer_handshake(reply):
                return
        self.apply(reply)
        while self._held:
            self.apply(self._held.pop(0))

    # -- from the uplink -------------------------------------------------------------------------

    def sent(self, item: Outgoing) -> None:
        """A frame of an unordered connection was stored."""
        self._unsent -= 1
        self._go_on()

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """A message was not stored, or nobody knows whether it was."""
        if item.target == CONNECT and self._lease is None:
            if self.phase is HANDSHAKE:
                self._refuse(503)
            else:
                self._next()
        elif self._lease is not None:
            logger.warning("an event of the WebSocket %s may be lost: %s", printable(self.path), error)
            self._lease.drop(item)
            self._after_events()
        elif item.target == RECEIVE:
            logger.warning("a message of the WebSocket %s may be lost: %s", printable(self.path), error)
            if self._ordered:
                self._as_slow(self._context.now).lost()
                self._entry = None
            else:
                self.sent(item)

    # -- from the server -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the deadlines."""
        if self.phase is HANDSHAKE and now >= self._since + self._context.options.accept_timeout:
            text = f"no consumer accepted the WebSocket {printable(self.path)} in time"
            self._context.unanswered.report(text, CONNECT, self._context.options.accept_timeout)
            self._deny(503)
        elif (life := self._context.options.websocket_life) and now >= self._since + life and self.phase is OPEN:
            self.close(GOING_AWAY, "maximum life reached")
        if self._lease is not None:
            self._check_lease(self._lease, now)
            return
        if not self._turn_open and not self._unsent:
            return
        entry = self._entry
        if entry is None or entry.stored_at:
            self._check_turn(now)
        elif (error := self._context.uplink.why_late(entry, self._entry_since, now)) is not None:
            self._give_up_sending(entry, error)

    def overflow(self) -> None:
        """The client does not take what it is sent."""
        if self.phase is not CLOSED:
            logger.warning("closing the WebSocket %s: its client reads too slowly", printable(self.path))
            self.close(TRY_AGAIN_LATER, "too slow")

    def close(self, code: int, reason: str = "", cause: str = "") -> None:
        """Close an accepted connection from this side, for the reason that its client is told or another cause."""
        if self.phase is OPEN:
            self._socket.close(code, reason)
            self._end(code, reason, cause or reason)

    def stop(self, reconnect: int | None = None) -> None:
        """The server is about to end; see `Connection.stop`."""
        if self.phase is HANDSHAKE:
            self._deny(503)
        hint = "" if reconnect is None else f"; reconnect={reconnect}"
        self.close(SERVICE_RESTART, f"service restart{hint}", "service restart")

    def bequeath(self) -> Content | None:
        """See `LastWillOwner.bequeath`."""
        return None if self._lease is None or self.phase is not OPEN else self._lease.bequeath()

    def disown(self) -> None:
        """Others have told the consumers that it is gone. The layer drops its ``websocket.disconnect``."""
        if self._lease is not None and self._lease.is_bequeathed:
            self._ended = True  # a worker has made the application, to tell it
        if self._entry is not None:
            self._entry.cancelled = True
        if self.phase is HANDSHAKE:
            self._deny(503)
        self._abandon(SERVICE_RESTART, "service restart")
        if self._ended:
            self._leave()

    def end_stream(self) -> bool:
        """See `Connection.end_stream`: it has none."""
        return False

    def is_deserted(self, seconds: float) -> bool:
        """True if its turn waits for a worker and no worker has taken a message off the channel for so many seconds."""
        if self._lease is not None:
            return self._lease.is_deserted(seconds)
        stored = self._entry is None or self._entry.stored_at > 0
        return self._turn_open and stored and self._as_slow(self._context.now).is_deserted(seconds)

    def release(self) -> None:
        """Send what is left of a closed connection without waiting for its turn."""
        if self._lease is not None and self.phase is CLOSED:
            self._lease.flush()
            self._leave()
        while self.phase is CLOSED and self._inbox:
            self._turn_open, self._slow, self._unsent = False, None, 0
            self._go_on()

    # -- for operators ---------------------------------------------------------------------------

    def facts(self) -> ConnectionFacts:
        """See `Connection.facts`."""
        worker = self._slow.worker if self._slow is not None else None
        if self._lease is not None and self._lease.worker is not None:
            worker = split(self._lease.worker)[0].rstrip("!")
        return {
            "path": self.path[:MOST_PATH],
            "client": self._client,
            "age": self._context.now - self._since,
            "state": self.phase.value,
            "user": self.user,
            "worker": worker,
        }

    def details(self) -> Details:
        """See `Connection.details`."""
        recent, self._recent = self._recent, self._recent or Recent()
        self._direct = None
        turn, consumer = self._turn_facts(), None
        if self._lease is not None:
            turn, consumer = self._lease.turn_facts(self._context.now), self._lease.consumer
        elif turn is not None:
            consumer = turn["consumer"]
        return {
            "consumer": consumer,
            "turn": turn,
            "outbox_bytes": self._socket.outbox_bytes,
            "read_ahead_bytes": self._inbox_bytes,
            "frames": self._order if self._lease is None else None,
            "events": None if recent is None else recent.events(),
        }

    def _turn_facts(self) -> TurnFacts | None:
        if not self._turn_open:
            return None
        stored_at = self._entry.stored_at if self._entry is not None else 0.0
        return {
            "number": self._turn,
            "seconds": self._context.now - self._entry_since,
            "stored": stored_at > 0,
            "consumer": None if self._slow is None else self._slow.consumer,
        }

    def close_for_operator(self, code: int, reason: str) -> bool:
        """See `Connection.close_for_operator`."""
        if self.phase is HANDSHAKE:
            self._deny(403)
        elif self.phase is OPEN:
            self.close(code, reason, BY_OPERATOR)
        else:
            return False
        return True

    # -- to another process ----------------------------------------------------------------------

    def give_away(self, unsent: list[Entry]) -> dict[str, Any]:
        """Leave this process without an end, and return all that `resume` needs in another one, or in this one again.

        Only for an open connection, while its socket is not read and nothing is written to the layer.

        Args:
            unsent: its messages that were queued for the layer and not written.
        """
        self._end_span()
        entry = self._entry
        state = {
            "local": self._local,
            "path": self.path,
            "scope": self._scope,
            "root_path": self._root_path,
            "inbox": self._inbox,
            "paused": self._paused,
            "turn": self._turn,
            "turn_open": self._turn_open,
            "order": self._order,
            "state": self._state,
            "stored_at": 0.0 if entry is None else entry.stored_at,
            "slow": None if self._slow is None else self._slow.facts(),
            "unsent": [] if self._lease is not None else [
                [each.item.target, each.item.body, each.item.headers] for each in unsent
            ],
            "lease": None if self._lease is None else self._lease.give_away(),
            "ended": self._ended,
            "since": self._since,
            "client": self._client,
            "user": self.user,
        }  # fmt: skip
        self._hold(-self._inbox_bytes)
        self._context.connections.pop(self._local)
        self._context.facts.sockets.add(path_pattern(self.path), -1)
        self._close_phase()
        return state

    @classmethod
    def resume(cls, context: Context, state: dict[str, Any], socket: Socket) -> WebSocketConnection:
        """The connection that another process has given away, with its name; see `give_away`."""
        connection = cls(context, {**state["scope"], "path": state["path"]}, socket, state["local"])
        connection._open_phase()
        connection._scope = context.access_log.needed(connection._scope)
        connection._root_path = state["root_path"]
        connection._turn, connection._turn_open = state["turn"], state["turn_open"]
        connection._order, connection._state = state["order"], state["state"]
        connection._ended, connection._since = state["ended"], state["since"]
        connection._client, connection.user = state["client"], state["user"]
        connection._inbox, connection._paused = state["inbox"], state["paused"]
        context.connections[connection._local] = connection
        context.facts.sockets.add(path_pattern(connection.path))
        if state["lease"] is not None:
            lease = connection._lease = Lease.resume(context, connection, state["lease"])
            connection._hold(lease.read_ahead)
            return connection
        connection._hold(sum(len(content) for content in connection._inbox))
        if state["stored_at"]:
            connection._entry = Entry.stored(state["stored_at"])
        if state["slow"] is not None:
            connection._slow = SlowTurn.of(context, state["slow"])
        for target, body, headers in state["unsent"]:
            if not connection._put(Outgoing(target, body, headers), patient=True):
                connection._abandon(TRY_AGAIN_LATER, "overloaded")
        return connection

    # -- the handshake and the end ---------------------------------------------------------------

    def _answer_handshake(self, reply: Reply) -> bool:
        """Accept if the reply says so or has something to send; returns whether the connection is open now."""
        if reply.accept or (reply.payload is not None and reply.payload.data):
            try:
                fields = accepting_fields(reply.message)
            except BadReply as error:
                self._ignore_reply(error)
                return False
            self._open_phase()
            offered = self._scope.get("subprotocols") or ()
            self._context.facts.opened(self.path)
            if self._recent is not None:
                self._recent.add(OPENED)
            chosen = agreed_subprotocol(reply.subprotocol, offered, self._context.options.subprotocols)
            self._socket.accept(chosen, fields)
            self._note("WSCONNECT")
            self._end_span()
            self._scope = self._context.access_log.needed(self._scope)  # headers are a third of a quiet socket
            return True
        return False

    def _open_phase(self) -> None:
        self.phase = OPEN
        if self._recent is None:
            self._direct = self._socket.direct

    def _close_phase(self) -> None:
        self.phase = CLOSED
        self._direct = None

    def _refuse(self, status: int) -> None:
        """End a handshake of which no consumer knows."""
        self._end_span(f"refused with {status}")
        self._close_phase()
        self._context.facts.not_opened(str(status))
        self._note("WSREJECT", status)
        self._socket.reject(status)
        self._context.connections.pop(self._local, None)

    def _be_refused(self, message: Content) -> None:
        """End the handshake with the response that a reply has for it, or else with 403."""
        try:
            denial = denial_of(message)
        except BadReply as error:
            text = "the response of a reply to the WebSocket %s cannot go out, the client gets 403: %s"
            logger.error(text, printable(self.path), error)
            denial = None
        self._deny(403 if denial is None else denial.head.status, denial)

    def _deny(self, status: int, denial: Denial | None = None) -> None:
        """End a handshake that consumers know of."""
        self._context.facts.not_opened(str(status))
        self._end_span(f"refused with {status}")
        self._note("WSREJECT", status)
        self._socket.reject(status, denial)
        self._end(ABNORMAL)

    def _end(self, code: int, reason: str = "", cause: str = "") -> None:
        if self.phase is OPEN:
            self._context.facts.closed(self.path, cause)
            self._note("WSDISCONNECT", code)
            if self._recent is not None:
                self._recent.add(CLOSING)
        self._end_span()
        self._close_phase()
        if self._lease is not None:
            self._end_application(code, reason)
            return
        self._inbox.append(Closing(code, reason))
        if len(self._inbox) == 1:
            self._go_on()

    # -- an application that lives in a worker ---------------------------------------------------

    def _from_application(self, message: Message, headers: Headers) -> None:
        """A message of the worker that hosts the application: what to do, what is done, and whose it is now."""
        lease = self._lease
        if lease is None:
            if headers["epoch"] or not headers.get("lease") or self._entry is None:
                return
            lease = self._lease = self._be_hosted(bytes(self._entry.item.body))
        elif headers["epoch"] != lease.epoch:
            worker = headers.get("lease")
            if worker:  # it took over an instance that others have by now
                self._context.hosts.dismiss(worker)
            return
        if headers.get("ended"):
            self._ended = True
            if self.phase is HANDSHAKE and message.get("close") == SERVICE_RESTART:
                self._deny(503)  # the worker could not wait for the application's answer
        self._answer(message)
        if "user" in headers:
            self.user = headers["user"]
        if self._recent is not None and "lease" in headers:
            self._recent.add(WORKER)
        lease.hear(headers)
        if self._events_held:
            held, self._events_held = self._events_held, []
            for event in held:
                self.take(event)
        if headers.get("ended"):
            self._lease_ended(failed=bool(headers.get("failed")))
        self._after_events()

    def _be_hosted(self, opening: bytes) -> Lease:
        """The handshake was taken by a worker that hosts an application."""
        lease = Lease(self._context, self, self.channel, printable(self.path), opening, self._root_path)
        self._turn_open = False
        self._entry = self._slow = None
        return lease

    def _to_application(self, event: Message, size: int) -> None:
        lease = self._lease
        assert lease is not None
        try:
            lease.put(event, size)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
            self.close(TOO_BIG, "message too big")
            return
        self._hold(lease.read_ahead - self._inbox_bytes)
        much = self._inbox_bytes > READ_AHEAD_BYTES or lease.is_full
        if not self._paused and (much or self._context.read_ahead > self._context.options.uplink_bytes):
            self._pause()

    def _after_events(self) -> None:
        """Some events are done with."""
        lease = self._lease
        assert lease is not None
        self._hold(lease.read_ahead - self._inbox_bytes)
        if self.phase is CLOSED:
            closing = next((item for item in self._inbox if isinstance(item, Closing)), None)
            if closing is not None:  # the client left before the handshake was taken
                self._inbox.clear()
                self._end_application(closing.code, closing.reason)
            elif lease.is_idle:
                self._leave()
        elif self._paused and lease.has_room:
            self._resume()

    def _check_lease(self, lease: Lease, now: float) -> None:
        error = lease.why_late(now)
        if error is not None:
            lease.withdraw()
            logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
            if self.phase is HANDSHAKE:
                self._deny(503)
            self.close(TRY_AGAIN_LATER, "overloaded")
            lease.flush()  # the end goes behind what was sent, when there is room again
            self._ended = True
            self._leave()
            return
        lease.tick(now)

    def _lease_ended(self, failed: bool) -> None:
        """The application has returned or raised."""
        if self.phase is HANDSHAKE:
            self._deny(500)
        else:
            self.close(INTERNAL_ERROR if failed else NORMAL_CLOSURE, "", BY_CONSUMER)
        self._leave()

    @property
    def tenancy(self) -> tuple[str, int]:
        """See `Guest.tenancy`."""
        return self._local, 0 if self._lease is None else self._lease.epoch

    @property
    def waits(self) -> bool:
        """See `Guest.waits`."""
        return self._lease is not None and not self._lease.is_idle

    def lease_lost(self, begun_until: float = inf) -> None:
        """See `Guest.lease_lost`."""
        if self._lease is None or self._ended:
            return
        if self._lease.lost(begun_until):
            self._after_events()
            return
        logger.warning("closing the WebSocket %s: its application cannot go on elsewhere", printable(self.path))
        self._ended = True
        if self.phase is HANDSHAKE:
            self._deny(503)
        self.close(SERVICE_RESTART, "service restart")
        self._leave()

    def _end_application(self, code: int, reason: str) -> None:
        if self._ended:
            return
        event: Message = {"type": DISCONNECT, "code": code}
        if reason:
            event["reason"] = reason
        self._to_application(event, 0)

    def _leave(self) -> None:
        """The application knows of the end, or never will."""
        if self._context.connections.pop(self._local, None) is None:
            return
        if self._lease is not None:
            self._lease.close()
        self._hold(-self._inbox_bytes)
        item = Outgoing(DISCONNECT, b"")
        self._context.last_wills.withdraw(item, self.channel)
        if item.last_will is not None:
            self._context.uplink.put(item, patient=True)
        self._context.departures.add([self.channel])

    # -- turns -----------------------------------------------------------------------------------

    def _may_send(self) -> bool:
        return not self._turn_open and self._unsent < UNORDERED_WINDOW

    def _next(self) -> None:
        self._turn_open = False
        self._entry = self._slow = None
        if self._span is not None:
            self._end_span()
        if self._recent is not None:
            self._recent.add(TURN_OVER)
        if self._inbox:
            self._go_on()

    def _as_slow(self, now: float) -> SlowTurn:
        if self._slow is None:
            stored_at = self._entry.stored_at if self._entry is not None and self._entry.stored_at else now
            self._slow = SlowTurn(self._context, CONNECT if self._order == 0 else RECEIVE, stored_at)
        return self._slow

    def _check_turn(self, now: float) -> None:
        """Go on without the end of the turn, if there is a reason to."""
        look = min(LOOK_SECONDS, self._context.options.turn_timeout)
        is_slow = self._slow is not None or self._entry is None or now - self._entry.stored_at >= look
        reason = self._as_slow(now).over(now) if is_slow and self._turn_open else None
        if reason is not None:
            logger.warning("going on without turn %d of the WebSocket %s: %s", self._turn, printable(self.path), reason)
            self._next()

    def _go_on(self) -> None:
        while self._inbox and self._may_send():
            content = self._inbox.pop(0)
            if isinstance(content, Closing):
                self._send_disconnect(content)
                return
            self._hold(-len(content))
            self._send_frame(content)
        if self._paused and not self._inbox and self.phase is OPEN:
            self._resume()

    def _pause(self) -> None:
        """Take no frames from the client for now."""
        self._paused = True
        self._socket.pause()
        if self._recent is not None:
            self._recent.add(PAUSED)

    def _resume(self) -> None:
        """Take frames again."""
        self._paused = False
        self._socket.resume()
        if self._recent is not None:
            self._recent.add(RESUMED)

    def _end_span(self, failure: str | None = None) -> None:
        """The handshake, or the frame that consumers were at, is done with."""
        if self._span is not None:
            self._span.end(failure)
            self._span = None

    def _send_frame(self, content: str | bytes) -> None:
        self._order += 1
        self._context.facts.frames += 1
        if tracing.is_on:
            self._end_span()
            self._span = spans.of_frame(self.path)
        message: ReceiveMessage = {"reply_channel": self.channel, "path": self.path, "order": self._order}
        if isinstance(content, str):
            message["text"] = content
        else:
            message["bytes"] = content
        try:
            item = self._prepare(RECEIVE, message)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
            self._abandon(TOO_BIG, "message too big")
            return
        if not self._put(item, patient=True):
            self._abandon(TRY_AGAIN_LATER, "overloaded")

    def _send_disconnect(self, closing: Closing) -> None:
        self._order += 1
        message: DisconnectMessage = {
            "reply_channel": self.channel,
            "code": closing.code,
            "path": self.path,
            "order": self._order,
        }
        if closing.reason:
            message["reason"] = closing.reason
        item = self._prepare(DISCONNECT, message)
        self._context.last_wills.withdraw(item, self.channel)
        if self._context.uplink.put(item, patient=True) is None:
            logger.error("the websocket.disconnect of %s is lost: too much waits already", printable(self.path))
        self._context.connections.pop(self._local, None)
        self._context.departures.add([self.channel])
        if self._ordered:
            self._context.states.leave(self._local, self._state, self._context.now)

    def _prepare(self, target: str, message: Content) -> Outgoing:
        headers: Headers | None = None
        if self._ordered:
            self._turn += 1
            headers = {"turn": self._turn}
            if self._state is not None:
                headers["state"] = self._state
        if self._root_path:
            headers = {**(headers or {}), "root_path": self._root_path}
        if self._span is not None:
            headers = {**(headers or {}), **self._span.headers}
        if self._context.trace:
            logger.debug("%s %s to %s", printable(self.path), self.channel, target)
        return self._context.layer.prepare(target, message, headers)

    def _put(self, item: Outgoing, patient: bool) -> bool:
        entry = self._context.uplink.put(item, self, patient=patient, report=not self._ordered and patient)
        if entry is None:
            return False
        self._entry = entry
        self._entry_since = self._context.now
        if self._ordered:
            self._turn_open = True
        elif patient:
            self._unsent += 1
        return True

    def _give_up_sending(self, entry: Entry, error: ChannelLayerError) -> None:
        """Drop a frame that the layer did not take in time, and the client with it."""
        entry.cancelled = True
        logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
        self._turn_open, self._unsent = False, 0
        self._abandon(TRY_AGAIN_LATER, "overloaded")
        self._go_on()

    def _abandon(self, code: int, reason: str) -> None:
        """Close without sending the frames that still wait: order would be broken without this one."""
        self._inbox = [item for item in self._inbox if isinstance(item, Closing)]
        self._hold(-self._inbox_bytes)
        self.close(code, reason)

    def _hold(self, size: int) -> None:
        """Count what is read ahead, here and in all."""
        self._inbox_bytes += size
        self._context.read_ahead += size

    def _note(self, event: str, code: int | None = None) -> None:
        if self._context.access_log.enabled:
            self._context.access_log.websocket(self._scope, event, code)
