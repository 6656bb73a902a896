"""Schedule of last wills: messages that processes leave to be sent in case they disappear. No I/O.

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

from ..delivery import Outgoing
from ..exceptions import LayerUnavailable
from .last_will_calls import LastWillCalls
from .plan import Planner
from .presence import Presence
from .scripts import Call
from .steps import Steps

logger = logging.getLogger(__name__)

LOOKS = 15
"""Number of looks for gone processes in the time of ``presence``."""

HELD_UP = 0.8
"""Share of ``presence`` without a heartbeat on another server after which nothing is received before one is sent
there: the process may have been taken for gone, and has to hear of that first."""


class LastWillSchedule:
    """Times for looks at processes that may be gone, and for heartbeats of this one on other servers.

    Attributes:
        unfinished: servers where last wills remain to be carried out right now.

    Args:
        plan: builds the calls that send, and those that say that a process is alive.
        calls: builds the others.
        presence: of this process, where it receives.
        seconds: ``presence`` of `ChannelLayer`.
        tell: called with a process and the local parts whose last wills were carried out.
    """

    def __init__(
        self,
        plan: Planner,
        calls: LastWillCalls,
        presence: Presence,
        seconds: float,
        tell: Callable[[str, Collection[str]], None],
    ) -> None:
        self._plan = plan
        self._calls = calls
        self._presence = presence
        self._every = seconds / LOOKS
        self._tell = tell
        self._held_up = seconds * HELD_UP
        self._next_look = [0.0] * len(plan.storage.shards)
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
        return [self._calls.carry_out()]

    def looked(self, shard: int, there_is_more: bool) -> None:
        """The answer to a look."""
        if there_is_more:
            self._next_look[shard] = 0.0
            self.unfinished.add(shard)
        else:
            self.unfinished.discard(shard)

    def has_signs_due(self, readers: Sequence[str]) -> bool:
        """True if `give_signs` has something to do."""
        signs = self._next_sign
        if not signs:
            return False
        now = time.monotonic()
        return any(now >= due and key[0] in readers for key, due in signs.items())

    def was_held_up(self) -> bool:
        """True if `give_signs` comes before everything else; see `HELD_UP`."""
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
            if self._plan.storage.host_of(process) != shard:
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

    def expect_losses(self, shard: int) -> None:
        """Another server has taken the place of one, and may lack what was stored there last. Any thread may say so."""
        self._presence.restore_all(lambda reader: self._plan.storage.host_of(reader) == shard)
        for key in list(self._next_sign):
            if key[1] == shard:
                self._missing.add(key)
                self._next_sign[key] = 0.0

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
        [carried_out] = yield shard, [self._calls.carried_out(reader)]
        if isinstance(carried_out, Exception):
            logger.warning("it is unknown which last wills were carried out: %s", carried_out)
        elif carried_out or of_none:
            self._tell(reader, {local.decode() for local in carried_out})
