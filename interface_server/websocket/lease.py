"""The lease of a WebSocket whose application lives in a worker: which one it is, and what it has still to deal with.

A worker that hosts an ASGI application keeps an instance of it for each connection (`workers.instances`). Events of the
connection go to that worker's own channel, numbered, and stay here until the worker says that they are done. When it
lets go of the instance, which every deploy of the code brings, what it had not begun goes to any other worker, together
with the scope of the connection and the instance's last checkpoint: it is made again there. An event is sent a second
time only if the worker has said that it did not begin it, or if nobody has taken it.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from channel_layer import tracing
from channel_layer.delivery import Content, Headers, Message, Outgoing
from channel_layer.exceptions import ChannelLayerError, InvalidMessage, MessageTooLarge
from channel_layer.messages import RESUME

from ..bridge import spans
from ..bridge.broadcast import Broadcast, Event
from ..bridge.connection import TurnFacts
from ..bridge.context import Context
from ..bridge.uplink import Entry
from .slow_turns import EXPIRED, SlowTurn

logger = logging.getLogger("interface_server.websocket")

WINDOW = 16
"""Events that a worker may have and not be done with."""

BEQUEST_TICKS = 4
"""Ticks without a worker after which the last will has what makes the application. Shorter times cost nothing."""

BEQUEST_BYTES = 16_384
"""Bytes of a checkpoint in a last will: the broker keeps one for each quiet connection."""

MOST_WAITING = 64
"""Messages of the layer that wait for an application; further ones are dropped, as a full channel would."""


class Lease:
    """Events of one connection, and the worker that they go to.

    Args:
        context: what the process shares.
        owner: the connection; the uplink tells it what became of a message.
        channel: its reply channel.
        path: of its handshake, for the log.
        opening: the ``websocket.connect`` message as it was sent, encoded.
        root_path: where the application is mounted.

    Attributes:
        worker: the channel of the worker that has the instance; ``None`` if none has.
        epoch: the number of times that the instance has changed hands.
        read_ahead: bytes of frames that are not done with.
        is_bequeathed: whether the last will has what is needed to make the application.
        consumer: name of the application's consumer, once a worker has told it.
    """

    __slots__ = (
        "_channel", "_checkpoint", "_context", "_events", "_free_ticks", "_opening", "_owner", "_path", "_resuming",
        "_root_path", "_slow", "_turn", "_under_way", "consumer", "epoch", "is_bequeathed", "read_ahead", "worker",
    )  # fmt: skip

    def __init__(self, context: Context, owner: Any, channel: str, path: str, opening: bytes, root_path: str) -> None:
        self.worker: str | None = None
        self.epoch = 0
        self.read_ahead = 0
        self.is_bequeathed = False
        self.consumer: str | None = None
        self._context = context
        self._owner = owner
        self._channel = channel
        self._path = path
        self._opening = opening
        self._root_path = root_path
        self._events: list[Event] = []  # few events wait, and a quiet deque takes 600 bytes
        self._under_way = 0
        self._turn = 1  # the handshake's
        self._checkpoint: bytes | None = None
        self._resuming: Entry | None = None
        self._slow: SlowTurn | None = None
        self._free_ticks = 0

    @property
    def is_idle(self) -> bool:
        """True if the application is done with all events."""
        return not self._events

    @property
    def has_room(self) -> bool:
        """True if frames may be read again: those before are done with, and few other events wait."""
        return not self.read_ahead and len(self._events) <= MOST_WAITING // 2

    @property
    def is_full(self) -> bool:
        """True if so many messages of the layer wait that no more are taken."""
        return len(self._events) >= MOST_WAITING

    def put(self, content: dict[str, Any], size: int = 0) -> None:
        """Have an event dealt with, behind all others.

        Raises:
            InvalidMessage, MessageTooLarge: it cannot be carried; nothing was done.
        """
        event = Event(self._turn + 1, content, size)
        if tracing.is_on:
            event.span = spans.of_frame(self._path)
        if self.worker is None or not self._under_way == len(self._events) < WINDOW:
            self._context.layer.prepare(RESUME, content)  # later nobody could be told that it cannot be carried
        self._events.append(event)
        try:
            self._go_on()
        except (InvalidMessage, MessageTooLarge):
            self._events.pop()
            raise
        self._turn += 1
        self.read_ahead += size

    def join(self, broadcast: Broadcast) -> None:
        """Take an event that goes to others, too: with the same message, if it can go now."""
        self._turn += 1
        event = Event(self._turn, broadcast.content, 0)
        self._events.append(event)
        if self.worker is None or self._under_way != len(self._events) - 1 or self._under_way >= WINDOW:
            self._go_on()
            return
        self._under_way += 1
        broadcast.add(self.worker, self, event)

    def unsent(self, event: Event) -> None:
        """An event that was to go with a broadcast did not."""
        event.entry = None
        self._under_way -= 1

    def hear(self, headers: Headers) -> None:
        """Take in what the worker says of the instance."""
        if "checkpoint" in headers:
            self._checkpoint = headers["checkpoint"]
        if "consumer" in headers:
            self.consumer = sys.intern(headers["consumer"])  # thousands have the same
        self._over(headers.get("turn", 0))
        if headers.get("ended"):
            self.close()  # what is left is for nobody
            return
        if "lease" in headers:
            self._change_hands(headers["lease"])
            if headers.get("again"):
                self._begin_again()
            elif headers.get("at_once") and self._resuming is None:
                self._resume()
        self._go_on()

    def done(self, turn: int) -> None:
        """Take in that the application is done with events up to this one; nothing else is said of the instance."""
        self._over(turn)
        self._go_on()

    def _over(self, turn: int) -> None:
        events = self._events
        while events and events[0].turn <= turn:
            event = events.pop(0)
            self.read_ahead -= event.size
            if event.span is not None:
                event.span.end()
            if self._under_way:
                self._under_way -= 1
            if event.entry is not None and event.entry.stored_at:
                self._context.facts.turn_over(event.entry.stored_at)

    def lost(self, begun_until: float) -> bool:
        """The worker is gone, and the event in hand with it; returns whether the application can go on elsewhere.

        Args:
            begun_until: an event that was sent later was not in hand.
        """
        if self._events and self._events[0].entry is not None and self._events[0].since <= begun_until:
            lost = self._events.pop(0)
            self.read_ahead -= lost.size
            logger.warning(
                "the worker of the WebSocket %s is gone, and with it an event: %s", self._path, lost.content.get("type")
            )
        self.epoch += 1  # what it may still say, if it was only held up, is not heard
        self._change_hands(None)
        if self._checkpoint is None:
            return False
        self._go_on()
        return True

    def flush(self) -> None:
        """Send all that waits without regard for what the worker is at."""
        if self.worker is None and self._resuming is None and self._events:
            self._resume(len(self._events))
        else:
            self._go_on(len(self._events))

    def drop(self, item: Outgoing) -> None:
        """Forget an event that was not stored, or nobody knows."""
        if self._resuming is not None and self._resuming.item is item:
            # A worker may have it all the same: sent again at once, two instances would run.
            self._slow = SlowTurn(self._context, RESUME, self._context.now)
            self._slow.lost()
            return
        for position, event in enumerate(self._events):
            if event.entry is not None and event.entry.item is item:
                del self._events[position]
                self.read_ahead -= event.size
                self._under_way -= 1
                return

    def turn_facts(self, now: float) -> TurnFacts | None:
        """The event that the application is at, or that waits for it; ``None`` if it is done with all."""
        if not self._events:
            return None
        event = self._events[0]
        stored = event.entry is not None and event.entry.stored_at > 0
        since = event.since or now
        return {"number": event.turn, "seconds": now - since, "stored": stored, "consumer": self.consumer}

    def why_late(self, now: float) -> ChannelLayerError | None:
        """The reason why an event waits too long for the layer; ``None`` if none does."""
        if self._resuming is not None or not self._events:
            return None
        event = self._events[0]
        if event.entry is None or event.entry.stored_at:
            return None
        return self._context.uplink.why_late(event.entry, event.since, now)

    def tick(self, now: float) -> None:
        """Look after an instance that is to be made again: nobody may have taken it yet."""
        if self._resuming is None:
            if self._events:
                self._go_on()  # there may be room in the uplink again
            elif self.worker is None and self._free_ticks < BEQUEST_TICKS:
                self._free_ticks += 1
                if self._free_ticks == BEQUEST_TICKS:
                    self._context.last_wills.renew(self._channel)
            return
        if self._slow is None:
            if not self._resuming.stored_at:
                return
            self._slow = SlowTurn(self._context, RESUME, self._resuming.stored_at)
        reason = self._slow.over(now)
        if reason is EXPIRED:
            self._resuming = self._slow = None
            self._go_on()
        elif reason is not None:
            self._owner.lease_lost()

    def is_deserted(self, seconds: float) -> bool:
        """True if the instance is to be made again and no worker has taken anything off that channel for so long."""
        entry = self._resuming
        return entry is not None and self._context.backlog.is_deserted(RESUME, entry.stored_at, seconds)

    def bequeath(self) -> Content | None:
        """Content for a worker if this process is killed: no instance would hear of the end. ``None`` if one would."""
        if self.worker is not None or self._resuming is not None or self._events:
            return None
        if self._checkpoint is None or len(self._checkpoint) > BEQUEST_BYTES:
            return None
        self.is_bequeathed = True
        return {
            "opening": self._opening,
            "checkpoint": self._checkpoint,
            "turn": self._turn,
            "epoch": self.epoch + 1,
            "root_path": self._root_path,
        }

    def withdraw(self) -> None:
        """Take back what was not sent yet."""
        kept = [event for event in self._events if event.entry is not None and event.entry.stored_at]
        for event in self._events:
            if event.entry is not None and event.entry.sender is self._owner:  # others wait for a shared one
                event.entry.cancelled = True
        self._events = kept
        self._under_way = len(kept)
        self.read_ahead = sum(event.size for event in kept)

    def close(self) -> None:
        """The connection is done with its application."""
        self.leave()
        self._events.clear()
        self.read_ahead = self._under_way = 0
        self._resuming = self._slow = None

    def leave(self) -> None:
        """No worker has the instance any more."""
        if self.worker is not None:
            self._context.hosts.leave(self.worker, self._owner)
            self.worker = None

    def give_away(self) -> dict[str, Any]:
        """Leave this process, and return all that `resume` needs. What was queued for the layer has been taken back."""
        resuming = self._resuming
        resumed_at = 0.0 if resuming is None else resuming.stored_at
        state = {
            "worker": self.worker,
            "epoch": self.epoch,
            # An unwritten message that was to replace the last will has not.
            "is_bequeathed": self.is_bequeathed
            or (resuming is not None and not resumed_at and resuming.item.last_will is not None),
            "channel": self._channel,
            "path": self._path,
            "opening": self._opening,
            "root_path": self._root_path,
            "events": [
                [event.turn, event.content, event.size, 0.0 if event.entry is None else event.entry.stored_at]
                for event in self._events
            ],
            "turn": self._turn,
            "checkpoint": self._checkpoint,
            "resumed_at": resumed_at,
            "resumes": resuming is not None and not resumed_at,
            "slow": None if self._slow is None else self._slow.facts(),
            "free_ticks": self._free_ticks,
            "consumer": self.consumer,
        }
        for event in self._events:
            if event.span is not None:
                event.span.end()
        self.leave()
        return state

    @classmethod
    def resume(cls, context: Context, owner: Any, state: dict[str, Any]) -> Lease:
        """The lease that another process has given away; see `give_away`."""
        lease = cls(context, owner, state["channel"], state["path"], state["opening"], state["root_path"])
        lease.epoch, lease.is_bequeathed = state["epoch"], state["is_bequeathed"]
        lease._turn, lease._checkpoint = state["turn"], state["checkpoint"]
        lease._free_ticks, lease.consumer = state["free_ticks"], state["consumer"]
        if state["resumed_at"]:
            lease._resuming = Entry.stored(state["resumed_at"])
        if state["slow"] is not None:
            lease._slow = SlowTurn.of(context, state["slow"])
        for turn, content, size, stored_at in state["events"]:
            event = Event(turn, content, size)
            if stored_at:
                event.entry = Entry.stored(stored_at)
            lease._events.append(event)
            lease.read_ahead += size
        if state["worker"] is not None:
            lease.worker = state["worker"]
            context.hosts.enter(lease.worker, owner, context.now)
            lease._under_way = sum(event.entry is not None for event in lease._events)
        if state["resumes"]:
            lease._resume()
        else:
            lease._go_on()
        return lease

    def _change_hands(self, worker: str | None) -> None:
        self.leave()
        self.worker = worker
        self._free_ticks = 0
        if worker is not None:
            self._context.hosts.enter(worker, self._owner, self._context.now)
        if self._resuming is not None:
            self._resuming.stored_at = self._resuming.stored_at or self._context.now  # whatever was said of it
        self._resuming = self._slow = None
        if worker is None:
            self._under_way = 0
            for event in self._events:
                event.entry = None
        else:
            # What went with the message that made the instance is under way.
            self._under_way = sum(event.entry is not None for event in self._events)

    def _begin_again(self) -> None:
        """Run the application from its start: what it has cannot be carried, and it has heard nothing yet."""
        first = self._events[0].turn - 1 if self._events else self._turn
        self._events.insert(0, Event(first, {"type": "websocket.connect"}, 0))
        self._checkpoint = None

    def _go_on(self, window: int = WINDOW) -> None:
        if not self._events:
            return
        if self.worker is None:
            if self._resuming is None:
                self._resume()
            return
        while self._under_way < min(window, len(self._events)):
            event = self._events[self._under_way]
            sent: Headers = {"turn": event.turn, "epoch": self.epoch}
            if event.span is not None:
                sent.update(event.span.headers)
            item = self._context.layer.prepare(self.worker, event.content, sent)
            event.since = self._context.now
            event.entry = self._context.uplink.put(item, self._owner, patient=True, kept=True)
            if event.entry is None:
                return  # too much waits already; tick or the next event tries again
            self._under_way += 1

    def _resume(self, most: int = 1) -> None:
        """Have any worker make the instance again, for the first event alone.

        The others follow when it is known who took it: what a worker may have begun, that was killed or only held up
        before it said a word, is this one event.
        """
        self.epoch += 1
        try:
            item = self._resume_with(most)
        except MessageTooLarge:
            most = 0
            item = self._resume_with(most)
        if self.is_bequeathed:
            self._context.last_wills.leave(item, self._channel, self._path)
        entry = self._resuming = self._context.uplink.put(item, self._owner, patient=True, kept=True)
        if entry is not None:
            self.is_bequeathed = False
            for event in self._events[:most]:
                event.entry, event.since = entry, self._context.now

    def _resume_with(self, most: int) -> Outgoing:
        events = self._events[:most]
        message: Message = {
            "reply_channel": self._channel,
            "path": self._path,
            "opening": self._opening,
            "checkpoint": self._checkpoint,
            "turn": self._events[0].turn - 1 if self._events else self._turn,
            "events": [event.content for event in events],
            "turns": [event.turn for event in events],
        }
        headers: Headers = {"epoch": self.epoch}
        if self._root_path:
            headers["root_path"] = self._root_path
        return self._context.layer.prepare(RESUME, message, headers)
