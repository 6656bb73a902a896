"""One WebSocket between a client and the consumers: the states of its handshake, its turns, its end.

No I/O happens here. Events come in as method calls; what is to be done goes out through a `Socket`
and the gateway's uplink. Every ``websocket.connect`` that was sent is followed by exactly one
``websocket.disconnect``.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any

from channel_layer.delivery import Outgoing
from channel_layer.exceptions import ChannelFull, ChannelLayerError, InvalidMessage, MessageTooLarge

from .access_log import printable
from .client_socket import Socket
from .messages import CONNECT, DISCONNECT, RECEIVE, Scope
from .replies import BadReply, Reply
from .uplink import Entry

if TYPE_CHECKING:
    from .gateway import Gateway

logger = logging.getLogger("interface_server.websocket")

READ_AHEAD_MESSAGES = 64
READ_AHEAD_BYTES = 65_536
UNORDERED_WINDOW = 16
LOST_TURN_SECONDS = 5.0
HELD_REPLIES = 64
"""Messages through groups that wait for the end of a handshake."""

ABNORMAL = 1006
GOING_AWAY = 1001
TOO_BIG = 1009
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013


class Phase(enum.Enum):
    """What a connection is in."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"


class WebSocketConnection:
    """One WebSocket.

    A small number of messages is read ahead while a turn is under way, so that a close, a pong or the loss
    of the client is noticed at once; past `READ_AHEAD_BYTES` the socket is not read.

    Args:
        gateway: what the process shares.
        local: unguessable local part of the reply channel.
        scope: an ASGI ``websocket`` scope with cleaned headers.
        socket: the client's side.
    """

    def __init__(self, gateway: Gateway, local: str, scope: Scope, socket: Socket) -> None:
        self.channel = gateway.name + local
        self.phase = Phase.HANDSHAKE
        self._gateway = gateway
        self._local = local
        self._scope = scope
        self.path: str = scope["path"]
        self._socket = socket
        self._ordered = not gateway.options.unordered
        self._inbox: list[str | bytes | int] = []  # an int is the close code that ends it
        self._inbox_bytes = 0
        self._paused = False
        self._turn = 0
        self._turn_open = False
        self._turn_deadline = 0.0
        self._entry: Entry | None = None
        self._entry_since = 0.0
        self._unsent = 0
        self._order = 0
        self._state: bytes | None = None
        self._held: list[Reply] = []
        self._accept_deadline = gateway.now + gateway.options.accept_timeout
        life = gateway.options.websocket_life
        self._end_of_life = gateway.now + life if life else float("inf")

    # -- from the client -------------------------------------------------------------------------

    def open(self) -> None:
        """Send ``websocket.connect``; the handshake waits for the answer."""
        gateway = self._gateway
        gateway.connections[self._local] = self
        self._note("WSCONNECTING")
        try:
            item = self._prepare(CONNECT, gateway.messages.connect(self._scope, self.channel))
            gateway.wills.leave(item, self.channel, self.path)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("refused a handshake that cannot be carried: %s", error)
            self._refuse(400)
            return
        if gateway.stopping or not self._put(item, patient=False):
            self._refuse(503)

    def received(self, content: str | bytes) -> None:
        """The client sent a message."""
        if self.phase is not Phase.OPEN:
            return
        if self._inbox or not self._may_send():
            self._inbox.append(content)
            self._inbox_bytes += len(content)
            if self._inbox_bytes > READ_AHEAD_BYTES or len(self._inbox) >= READ_AHEAD_MESSAGES:
                self._paused = True
                self._socket.pause()
        else:
            self._send_frame(content)

    def lost(self, code: int) -> None:
        """The client closed, or is gone; later calls do nothing."""
        if self.phase is not Phase.CLOSED:
            self._end(code)

    # -- from the consumers ----------------------------------------------------------------------

    def deliver(self, message: dict[str, Any], headers: dict[str, Any] | None) -> None:
        """A message on the reply channel: something to do, the end of the turn, or both."""
        if message:
            try:
                reply = Reply(message)
            except BadReply as error:
                logger.error("a reply to the WebSocket %s was ignored: %s", printable(self.path), error)
            else:
                self._carry_out(reply)
        if headers is not None and self._turn_open and headers.get("turn") == self._turn:
            if "state" in headers:
                self._keep(headers["state"])
            if headers.get("failed") and self.phase is Phase.HANDSHAKE:
                self._deny(500)
            self._next()

    def apply(self, reply: Reply) -> None:
        """Do what a reply through a group says, once the handshake was accepted.

        It never answers the handshake itself: consumers join a socket to its groups before they decide
        about it, and a message to the others must not let in somebody whom they are about to deny.
        """
        if self.phase is not Phase.HANDSHAKE:
            self._do(reply)
        elif len(self._held) < HELD_REPLIES:
            self._held.append(reply)
        else:
            logger.warning("a message to a group was dropped: the handshake of %s waits", printable(self.path))

    def _carry_out(self, reply: Reply) -> None:
        if self.phase is Phase.CLOSED:
            return
        if self.phase is Phase.HANDSHAKE and not self._answer_handshake(reply):
            return
        self._do(reply)
        while self._held:
            self._do(self._held.pop(0))

    def _do(self, reply: Reply) -> None:
        if self.phase is not Phase.OPEN:
            return
        if reply.payload is not None and not self._socket.send(reply.payload):
            self.overflow()
        elif reply.close is not None:
            self.close(reply.close)

    # -- from the uplink -------------------------------------------------------------------------

    def sent(self, item: Outgoing) -> None:
        """A frame of an unordered connection was stored."""
        self._unsent -= 1
        self._go_on()

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """A message was not stored, or nobody knows whether it was."""
        if item.target == CONNECT:
            if self.phase is Phase.HANDSHAKE:
                self._refuse(503)
            else:
                self._turn_open = False
                self._next()
        elif item.target == RECEIVE:
            logger.warning("a message of the WebSocket %s may be lost: %s", printable(self.path), error)
            if self._ordered:
                self._turn_deadline = min(self._turn_deadline, self._gateway.now + LOST_TURN_SECONDS)
            else:
                self.sent(item)

    # -- from the server -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Check the deadlines."""
        options = self._gateway.options
        if self.phase is Phase.HANDSHAKE and now >= self._accept_deadline:
            logger.warning("no consumer accepted the WebSocket %s in time", printable(self.path))
            self._deny(503)
        elif now >= self._end_of_life and self.phase is Phase.OPEN:
            self.close(GOING_AWAY, "maximum life reached")
        if not self._turn_open and not self._unsent:
            return
        if self._entry is not None and not self._entry.sent:
            if now - self._entry_since >= options.send_timeout:
                self._give_up_sending()
        elif self._turn_open and now >= self._turn_deadline:
            logger.warning(
                "the consumer of turn %d of the WebSocket %s did not finish in time; going on without it",
                self._turn, printable(self.path),
            )  # fmt: skip
            self._next()

    def overflow(self) -> None:
        """The client does not take what it is sent."""
        if self.phase is not Phase.CLOSED:
            logger.warning("closing the WebSocket %s: its client reads too slowly", printable(self.path))
            self.close(TRY_AGAIN_LATER, "too slow")

    def close(self, code: int, reason: str = "") -> None:
        """Close an accepted connection from this side."""
        if self.phase is Phase.OPEN:
            self._socket.close(code, reason)
            self._end(code)

    def stop(self) -> None:
        """The server is about to end."""
        if self.phase is Phase.HANDSHAKE:
            self._deny(503)
        self.close(SERVICE_RESTART, "service restart")

    def disown(self) -> None:
        """Others have told the consumers that it is gone. The layer drops its ``websocket.disconnect``."""
        if self._entry is not None:
            self._entry.cancelled = True
        if self.phase is Phase.HANDSHAKE:
            self._deny(503)
        self._abandon(SERVICE_RESTART, "service restart")

    def release(self) -> None:
        """Send what is left of a closed connection without waiting for its turn."""
        while self.phase is Phase.CLOSED and self._inbox:
            self._turn_open = False
            self._unsent = 0
            self._go_on()

    # -- the handshake and the end ---------------------------------------------------------------

    def _answer_handshake(self, reply: Reply) -> bool:
        """Accept or deny as the reply says; returns whether the connection is open now."""
        if reply.accept is not False and (reply.accept or reply.payload is not None):
            self.phase = Phase.OPEN
            self._socket.accept(self._subprotocol(reply.subprotocol))
            self._note("WSCONNECT")
            self._scope = self._gateway.access_log.needed(self._scope)  # headers are a third of a quiet socket
            return True
        if reply.accept is False or reply.close is not None:
            self._deny(403)
        return False

    def _subprotocol(self, chosen: str | None) -> str | None:
        offered = self._scope.get("subprotocols") or ()
        if chosen is not None:
            if chosen in offered:
                return chosen
            logger.error("a consumer chose the subprotocol %r, which the client did not offer", chosen)
        return next((name for name in self._gateway.options.subprotocols if name in offered), None)

    def _refuse(self, status: int) -> None:
        """End a handshake of which no consumer knows."""
        self.phase = Phase.CLOSED
        self._note("WSREJECT", status)
        self._socket.reject(status)
        self._gateway.connections.pop(self._local, None)

    def _deny(self, status: int) -> None:
        """End a handshake that consumers know of."""
        self._note("WSREJECT", status)
        self._socket.reject(status)
        self._end(ABNORMAL)

    def _end(self, code: int) -> None:
        if self.phase is Phase.OPEN:
            self._note("WSDISCONNECT", code)
        self.phase = Phase.CLOSED
        self._inbox.append(code)
        if len(self._inbox) == 1:
            self._go_on()

    # -- turns -----------------------------------------------------------------------------------

    def _may_send(self) -> bool:
        return not self._turn_open and self._unsent < UNORDERED_WINDOW

    def _next(self) -> None:
        self._turn_open = False
        self._entry = None
        if self._inbox:
            self._go_on()

    def _go_on(self) -> None:
        while self._inbox and self._may_send():
            content = self._inbox.pop(0)
            if isinstance(content, int):
                self._send_disconnect(content)
                return
            self._inbox_bytes -= len(content)
            self._send_frame(content)
        if self._paused and not self._inbox and self.phase is Phase.OPEN:
            self._paused = False
            self._socket.resume()

    def _send_frame(self, content: str | bytes) -> None:
        is_text = isinstance(content, str)
        message = {
            "reply_channel": self.channel,
            "path": self.path,
            "text": content if is_text else None,
            "bytes": None if is_text else content,
            "order": self._count(),
        }
        try:
            item = self._prepare(RECEIVE, message)
        except (InvalidMessage, MessageTooLarge) as error:
            logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
            self._abandon(TOO_BIG, "message too big")
            return
        if not self._put(item, patient=True):
            self._abandon(TRY_AGAIN_LATER, "overloaded")

    def _send_disconnect(self, code: int) -> None:
        message = {"reply_channel": self.channel, "code": code, "path": self.path, "order": self._count()}
        item = self._prepare(DISCONNECT, message)
        self._gateway.wills.withdraw(item, self.channel)
        if self._gateway.uplink.put(item, patient=True) is None:
            logger.error("the websocket.disconnect of %s is lost: too much waits already", printable(self.path))
        self._gateway.connections.pop(self._local, None)
        self._gateway.forget([self.channel])

    def _count(self) -> int:
        self._order += 1
        return self._order

    def _prepare(self, target: str, message: dict[str, Any]) -> Outgoing:
        headers: dict[str, Any] | None = None
        if self._ordered:
            self._turn += 1
            headers = {"turn": self._turn}
            if self._state is not None:
                headers["state"] = self._state
        if self._gateway.trace:
            logger.debug("%s %s to %s", printable(self.path), self.channel, target)
        outgoing: Outgoing = self._gateway.layer.prepare(target, message, headers)
        return outgoing

    def _put(self, item: Outgoing, patient: bool) -> bool:
        entry = self._gateway.uplink.put(item, self, patient=patient, report=not self._ordered and patient)
        if entry is None:
            return False
        self._entry = entry
        self._entry_since = self._gateway.now
        if self._ordered:
            self._turn_open = True
            self._turn_deadline = self._entry_since + self._gateway.options.turn_timeout
        elif patient:
            self._unsent += 1
        return True

    def _give_up_sending(self) -> None:
        """The frame at hand found no room in time: drop it, and the client with it."""
        if self._entry is not None:
            self._entry.cancelled = True
        error = self._gateway.uplink.down or ChannelFull(RECEIVE)
        logger.warning("closing the WebSocket %s: %s", printable(self.path), error)
        self._turn_open = False
        self._unsent = 0
        self._abandon(TRY_AGAIN_LATER, "overloaded")
        self._go_on()

    def _abandon(self, code: int, reason: str) -> None:
        """Close without sending the frames that still wait: order would be broken without this one."""
        self._inbox = [item for item in self._inbox if isinstance(item, int)]
        self._inbox_bytes = 0
        self.close(code, reason)

    def _keep(self, state: Any) -> None:
        limit = self._gateway.options.state_max
        if not isinstance(state, bytes) or len(state) > limit:
            size = f"{len(state)} bytes" if isinstance(state, bytes) else type(state).__name__
            logger.error(
                "the state of the WebSocket %s was not kept: it is %s, allowed are %d bytes",
                printable(self.path), size, limit,
            )  # fmt: skip
            return
        self._state = state or None

    def _note(self, event: str, code: int | None = None) -> None:
        if self._gateway.access_log.enabled:
            self._gateway.access_log.websocket(self._scope, event, code)
