"""Turns that take long: when to go on although no worker has said that they are over.

A message that waits on its channel keeps its turn open, however long that takes: order would be lost otherwise. The
time that a consumer has counts from when a worker took the message. That is known in two ways: workers tell of a
consumer that has run for a second, and of what was stored long ago the layer knows whether it may still wait
(`interface_server.bridge.backlog`). What was taken, and no worker tells of, a worker took with it when it died.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from channel_layer.delivery import Headers
from channel_layer.messages import RESUME

from ..bridge.context import Context
from ..bridge.hosts import JUMP_SECONDS, SILENT_SECONDS

LOOK_SECONDS = 2.0
"""From when on a turn counts as slow. Workers have told of their part before."""

LOST_TURN_SECONDS = 5.0
"""Duration of the turn of a message that may have been lost on its way to the channel."""

RESUME_SECONDS: Final = SILENT_SECONDS
"""Time after which an instance that is to be made again, and of which no worker tells, was lost with its worker.

A worker tells of it before anything else, and one that was held up asks first whether it still may.
"""

SIGN_SECONDS = 2.5
"""Within which a worker that took a message, and is alive, has given a sign of it."""

LATER_SECONDS = 5.0
"""Time that a postponed message may take back to its channel: a pause, or a full channel."""

NEWS_SECONDS = 3.0
"""Age of the layer's answer up to which it may end a turn."""

NOT_FINISHED: Final = "its consumer did not finish in time"
DIED: Final = "its consumer did not finish in time, and the worker that took its message gave no sign of it"
EXPIRED: Final = "no worker took its message before it expired"
LOST: Final = "its message may have been lost, and no worker gave a sign of it"


class SlowTurn:
    """One turn that did not end at once.

    Args:
        context: what the process shares.
        channel: where the message was sent.
        stored_at: when it was surely stored, by the event loop's time.

    Attributes:
        worker, consumer: names of the worker that is at it and of its consumer, once that has said so.
    """

    __slots__ = (
        "_begun_at", "_channel", "_context", "_looked_at", "_lost", "_stored_at", "_waited_until", "consumer", "worker",
    )  # fmt: skip

    def __init__(self, context: Context, channel: str, stored_at: float) -> None:
        self._context = context
        self._channel = channel
        self._stored_at = self._waited_until = stored_at
        self._begun_at: float | None = None
        self._looked_at = inf
        self._lost = False
        self.worker: str | None = None
        self.consumer: str | None = None

    def facts(self) -> list[Any]:
        """All that is known of the turn, for the process that goes on with it; see `of`."""
        return [
            self._channel, self._stored_at, self._waited_until, self._begun_at, self._lost, self.worker, self.consumer,
        ]  # fmt: skip

    @classmethod
    def of(cls, context: Context, facts: list[Any]) -> SlowTurn:
        """A turn of which another process has told the facts. The clock of the event loop is the machine's."""
        channel, stored_at, waited_until, begun_at, lost, worker, consumer = facts
        turn = cls(context, channel, stored_at)
        turn._waited_until, turn._begun_at, turn._lost = waited_until, begun_at, lost
        turn.worker, turn.consumer = worker, consumer
        return turn

    def hear(self, headers: Headers, now: float) -> None:
        """A worker says that it has been at work for some time, or that the message goes back to its channel."""
        seconds = headers.get("seconds")
        if "later" in headers:
            self._begun_at = self.worker = self.consumer = None
            self._lost = False
            self._stored_at = self._waited_until = now + LATER_SECONDS
        else:
            self._begun_at = now - (seconds if isinstance(seconds, (int, float)) else 0)
            self.worker, self.consumer = headers.get("worker"), headers.get("consumer")

    def lost(self) -> None:
        """Nobody knows whether the message was stored."""
        self._lost = True

    def over(self, now: float) -> str | None:
        """The reason to go on without the end of the turn; ``None`` to wait."""
        turn_timeout = self._context.options.turn_timeout
        if self._begun_at is not None:
            return NOT_FINISHED if now - self._begun_at >= turn_timeout else None
        was_held_up, self._looked_at = now - self._looked_at > JUMP_SECONDS, now
        if self._channel == RESUME and (was_held_up or self._context.uplink.down is not None):
            self._waited_until = max(self._waited_until, now)  # no sign of a worker could be heard
        if self._context.uplink.down is not None:
            if self._lost:  # what was sent to a frozen broker is stored when that comes back
                self._stored_at = now
                self._waited_until = max(self._waited_until, now - LOST_TURN_SECONDS + SIGN_SECONDS)
            return None
        front = self._context.backlog.front(self._channel, self._stored_at)
        if front is None or now - front.asked > NEWS_SECONDS:
            return None
        may_wait = front.may_wait(self._stored_at)
        if self._stored_at >= front.stored:  # within the slack it is likelier to have been taken
            self._waited_until = front.asked
        expires = self._stored_at + self._context.layer.expiry
        if now > expires + SIGN_SECONDS:
            return EXPIRED if self._waited_until > expires - NEWS_SECONDS else DIED
        patience = turn_timeout
        if self._lost:
            patience = LOST_TURN_SECONDS
        elif self._channel == RESUME and front.stored != inf:  # the layer can tell that it waits no more
            patience = min(patience, RESUME_SECONDS)
        if may_wait or now - self._waited_until < patience:
            return None
        return LOST if self._lost else DIED

    def is_deserted(self, seconds: float) -> bool:
        """True if apparently no worker has the message.

        It may still wait on its channel, off which no worker has taken anything for so long; or it was taken, and no
        worker has given a sign of it.
        """
        backlog = self._context.backlog
        front = backlog.front(self._channel, self._stored_at)
        if self._begun_at is not None or front is None:
            return False
        if front.may_wait(self._stored_at):
            return backlog.is_deserted(self._channel, self._stored_at, seconds)
        return front.asked - self._waited_until >= LOST_TURN_SECONDS
