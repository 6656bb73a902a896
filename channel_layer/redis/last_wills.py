"""What processes leave to be sent in case they disappear, and seeing to it that it is sent. No I/O.

A last will lies on the server of the channel it is for, so that one script can move it there: it is carried out once or
not at all, however many processes try. It is left and withdrawn in the script that stores the message it rides with,
unless that message goes to another server; then it is left right afterwards.

Whoever receives on a server looks there every few seconds whether the presence of a process has expired that has left
last wills, see ``carry_out_last_wills.lua``. The look rides with a pop, so that a server which does not answer holds up
no other. A process says that it is alive where it receives (`Presence`), and on the other servers that have last wills
of its own.

A process that was taken for gone, but was only held up, finds the local parts whose last wills were carried out in
a set, and what it still sends in their name is dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .. import names
from ..delivery import LastWill, Outgoing
from ..exceptions import LayerUnavailable
from . import scripts
from .scripts import Call, plain
from .steps import Steps

if TYPE_CHECKING:
    from .plan import Planner
    from .presence import Presence

logger = logging.getLogger(__name__)

CHUNK = 200
"""Last wills carried out in one call, which Redis spends some hundred microseconds with."""

LOOKS = 15
"""How often in the time of ``presence`` a process looks for others that have gone."""

HELD_UP = 0.8
"""After this share of ``presence`` without a sign of life on another server, nothing is received before one is given
there: the process may have been taken for gone, and has to hear of that first."""


class Testament:
    """Builds the calls that leave, withdraw and carry out last wills.

    Args:
        plan: knows the keys.
        presence: seconds; see `ChannelLayer`.
        kept: seconds that last wills are kept after nobody has looked at them any more.
    """

    def __init__(self, plan: Planner, presence: float, kept: float) -> None:
        self._plan = plan
        self._presence_ms = int(presence * 1000)
        self._kept_ms = int(kept * 1000)
        self._kept = kept
        self._processes = f"{plan.prefix}w:"
        self._carried_out = f"{plan.prefix}x:"
        self._marks = f"{plan.prefix}q:"

    def push(self, reader: str, pairs: Sequence[tuple[str, Outgoing]]) -> Call:
        """Push messages to one queue, as (local part, message), with what they do to last wills."""
        plan = self._plan
        keys = [plan.all_statistics, plan.queue_prefix + reader, plan.statistics_of(reader), self._processes]
        args: list[Any] = [
            plan.expiry_ms,
            plan.statistics_ms,
            plan.capacity_of(reader),
            self._processes,
            self._carried_out,
            self._presence_ms,
            self._kept_ms,
        ]
        for local, item in pairs:
            args.append(plan.frame(reader, local, item) if item.body else b"")
            last_will = item.last_will
            if last_will is None or (
                last_will.message is not None and self.home(last_will.message) != plan.ring.host_of(reader)
            ):
                args += ("", "", "")
            else:
                args += (*names.split(last_will.channel), self._encoded(last_will))
        return Call(scripts.PUSH_WITH_LAST_WILLS, keys, args)

    def home(self, message: Outgoing) -> int:
        """The server where the last will to send a message lies."""
        return self._plan.ring.host_of(names.split(message.target)[0])

    def homes(self, items: Iterable[Outgoing]) -> set[tuple[str, int]]:
        """Processes that leave last wills with these messages, and the servers where those lie."""
        last_wills = [item.last_will for item in items if item.last_will is not None]
        return {
            (names.split(last_will.channel)[0], self.home(last_will.message))
            for last_will in last_wills
            if last_will.message is not None
        }

    def elsewhere(self, item: Outgoing) -> Outgoing | None:
        """The last will of a message as an item of its own, if it does not lie where the message does."""
        last_will = item.last_will
        if last_will is None or last_will.message is None or self.home(last_will.message) == self.home(item):
            return None
        alone = Outgoing(last_will.message.target, b"")
        alone.last_will = last_will
        return alone

    def carry_out(self) -> Call:
        """Carry out some of the last wills of those who have gone."""
        plan = self._plan
        args = [
            plan.expiry_ms,
            plan.statistics_ms,
            plan.presence_prefix,
            self._processes,
            self._carried_out,
            self._marks,
            plan.queue_prefix,
            plan.all_statistics,
            self._presence_ms // 3,
            self._kept_ms,
            CHUNK,
        ]
        return Call(scripts.CARRY_OUT_LAST_WILLS, [self._processes, plan.all_statistics], args)

    def carried_out(self, process: str) -> Call:
        """Ask for the local parts of a process whose last wills were carried out."""
        return plain("SMEMBERS", self._carried_out + process)

    def _encoded(self, last_will: LastWill) -> bytes:
        message = last_will.message
        if message is None:
            return b"?" if last_will.claims else b""
        target, local = names.split(message.target)
        frame = self._plan.frame(target, local, message, good_for=self._kept)
        return b"%d:%b:%b" % (self._plan.capacity_of(target), target.encode(), frame)


class LastWills:
    """When to look for processes that have gone, and where else to say that this one has not.

    Attributes:
        unfinished: servers where last wills remain to be carried out right now.

    Args:
        plan: builds the calls.
        presence: of this process, where it receives.
        seconds: ``presence`` of `ChannelLayer`.
        tell: called with a process and the local parts whose last wills were carried out.
    """

    def __init__(
        self, plan: Planner, presence: Presence, seconds: float, tell: Callable[[str, Collection[str]], None]
    ) -> None:
        self._plan = plan
        self._presence = presence
        self._every = seconds / LOOKS
        self._tell = tell
        self._held_up = seconds * HELD_UP
        self._next_look = [0.0] * len(plan.shards)
        self._next_sign: dict[tuple[str, int], float] = {}
        self._shown: dict[tuple[str, int], float] = {}
        self._missing: set[tuple[str, int]] = set()
        self.unfinished: set[int] = set()

    def look(self, shard: int) -> list[Call]:
        """Calls to put in front of a pop, if it is time to see who has gone."""
        now = time.monotonic()
        if now < self._next_look[shard]:
            return []
        self._next_look[shard] = now + self._every
        return [self._plan.last_wills.carry_out()]

    def looked(self, shard: int, there_is_more: bool) -> None:
        """The answer to a look."""
        if there_is_more:
            self._next_look[shard] = 0.0
            self.unfinished.add(shard)
        else:
            self.unfinished.discard(shard)

    def has_signs_due(self, readers: Sequence[str]) -> bool:
        """Whether `give_signs` has something to do."""
        signs = self._next_sign
        if not signs:
            return False
        now = time.monotonic()
        return any(now >= due and key[0] in readers for key, due in signs.items())

    def was_held_up(self) -> bool:
        """Whether `give_signs` comes before everything else; see `HELD_UP`."""
        return bool(self._shown) and time.monotonic() - min(self._shown.values()) > self._held_up

    def give_signs(self, readers: Sequence[str]) -> Steps:
        """Show on servers where this process does not receive that it is alive.

        Args:
            readers: names that this process receives on.
        """
        for key, due in list(self._next_sign.items()):
            if time.monotonic() >= due and key[0] in readers:
                yield from self._show(*key)

    def left(self, homes: Iterable[tuple[str, int]], items: Sequence[Outgoing]) -> Steps:
        """Note where last wills are, and leave those that lie on other servers than the messages they rode with."""
        for process, shard in homes:
            if self._plan.ring.host_of(process) != shard:
                self._next_sign.setdefault((process, shard), 0.0)
        for shard, calls in self._plan.send(items).calls.items():
            failure: object = None
            try:
                replies = yield shard, calls
                failure = next((reply for reply in replies if isinstance(reply, Exception)), None)
            except LayerUnavailable as error:
                failure = error
            if failure is not None:
                logger.warning("last wills could not be left and are tried again: %s", failure)
                for home in homes:
                    if home[1] == shard:
                        self._missing.add(home)
                        self._next_sign.setdefault(home, 0.0)

    def come_back(self, reader: str, shard: int) -> Steps:
        """Put back what a server has lost of a process, or forgotten because the process was held up.

        The last wills are with their owner, who is told which of them have been carried out. What fails is tried again
        with a later renewal; nothing is raised, for messages may have been received before.
        """
        try:
            for batch in self._presence.restore(reader):
                replies = yield shard, batch
                for failure in {str(reply) for reply in replies if isinstance(reply, Exception)}:
                    self._presence.restore_again(reader)
                    logger.warning("memberships could not be put back and are tried again: %s", failure)
            # Nobody carries out any more from here on: the presence was put back.
            yield from self._tell_owner(reader, shard)
        except LayerUnavailable as error:
            self._presence.restore_again(reader)
            self._presence.reconnect([reader])
            logger.warning("memberships could not be put back and are tried again: %s", error)

    def _show(self, reader: str, shard: int) -> Steps:
        key = reader, shard
        self._next_sign[key] = time.monotonic() + self._every
        try:
            [reply] = yield shard, [self._plan.renew_presence(reader)]
            if isinstance(reply, Exception):
                logger.warning("a server could not be told that this process is alive: %s", reply)
                return
            if not reply:
                [reply] = yield shard, [self._plan.set_presence(reader)]
                if isinstance(reply, Exception):
                    logger.warning("a server could not be told that this process is alive: %s", reply)
                    return
                if key in self._shown:
                    self._missing.add(key)
                else:  # held up before it could show itself for the first time, it may have been taken for gone
                    yield from self._tell_owner(reader, shard, of_none=False)
            self._shown[key] = time.monotonic()
            if key in self._missing:
                yield from self._tell_owner(reader, shard)
                self._missing.discard(key)
        except LayerUnavailable as error:
            logger.debug("%s", error)

    def _tell_owner(self, reader: str, shard: int, of_none: bool = True) -> Steps:
        [carried_out] = yield shard, [self._plan.last_wills.carried_out(reader)]
        if isinstance(carried_out, Exception):
            logger.warning("it is unknown which last wills were carried out: %s", carried_out)
        elif carried_out or of_none:
            self._tell(reader, {local.decode() for local in carried_out})
