"""Schedule of last wills: messages that processes leave to be sent in case they disappear. No I/O.

A last will lies on the server of the channel it is for, so that one script can move it there: it is carried out once or
not at all, however many processes try. It is left and withdrawn in the script that stores the message it rides with,
unless that message goes to another server; then it is left right afterwards.

Whoever receives on a server looks there every few seconds whether the presence of a process has expired that has left
last wills, see ``carry_out_last_wills.lua``. The look rides with a pop, so that a server which does not answer holds up
no other. A process receives on its own name from every server, and so says everywhere that it is alive (`Presence`).

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


class LastWillSchedule:
    """Times for looks at processes that may be gone, and what a process does that may have been taken for one.

    Attributes:
        unfinished: servers where last wills remain to be carried out right now.

    Args:
        plan: builds the calls that send, and those that say that a process is alive.
        calls: builds the others.
        presence: of this process.
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
        self._next_look = [0.0] * len(plan.storage.shards)
        self.unfinished: set[int] = set()

    def look(self, shard: int) -> list[Call]:
        """Calls to put in front of a pop, if it is time to see who has gone."""
        now = time.monotonic()
        if now < self._next_look[shard]:
            return []
        self._next_look[shard] = now + self._every
        return [self._calls.carry_out(shard)]

    def looked(self, shard: int, there_is_more: bool) -> None:
        """The answer to a look."""
        if there_is_more:
            self._next_look[shard] = 0.0
            self.unfinished.add(shard)
        else:
            self.unfinished.discard(shard)

    def was_held_up(self, readers: Sequence[str]) -> bool:
        """True if `show` comes before anything is received from several servers.

        What was sent to this process since may tell of things that took place after its last wills were carried out.
        """
        return any(self._presence.was_held_up(reader) for reader in readers if reader.endswith("!"))

    def show(self, readers: Sequence[str], shard: int) -> Steps:
        """Show on a server that this process is alive, and learn there whether it was taken for gone."""
        self._presence.reconnect(shard, readers)
        calls = self._presence.due(shard, readers)
        if not calls:
            return
        try:
            replies = yield shard, calls
        except LayerUnavailable as error:
            logger.debug("%s", error)
            return
        answers = [reply for reply in replies if not isinstance(reply, Exception)]
        for reader in self._presence.lost(shard, readers, answers):
            yield from self.come_back(reader, shard)

    def left(self, homes: Iterable[tuple[str, int]], items: Sequence[Outgoing]) -> Steps:
        """Leave last wills that lie on other servers than the messages they rode with.

        Args:
            homes: processes that leave them, and where.
        """
        for shard, calls in self._plan.send(items).calls.items():
            failure: object = None
            try:
                replies = yield shard, calls
                failure = next((reply for reply in replies if isinstance(reply, Exception)), None)
            except LayerUnavailable as error:
                failure = error
            if failure is not None:
                logger.warning("last wills could not be left and are tried again: %s", failure)
                self._presence.restore_soon(shard, [process for process, home in homes if home == shard])

    def expect_losses(self, shard: int) -> None:
        """Another server has taken the place of one, and may lack what was stored there last. Any thread may say so."""
        self._presence.restore_soon(shard)

    def come_back(self, reader: str, shard: int) -> Steps:
        """Put back what a server has lost of a process, or forgotten because the process was held up.

        The last wills are with their owner, who is told which of them have been carried out. What fails is tried again
        with a later renewal; nothing is raised, for messages may have been received before.
        """
        try:
            for batch in self._presence.restore(reader, shard):
                replies = yield shard, batch
                for failure in {str(reply) for reply in replies if isinstance(reply, Exception)}:
                    self._presence.restore_again(shard, [reader])
                    logger.warning("memberships could not be put back and are tried again: %s", failure)
            # Nobody carries out any more from here on: the presence was put back.
            yield from self._tell_owner(reader, shard)
        except LayerUnavailable as error:
            self._presence.restore_soon(shard, [reader])
            logger.warning("memberships could not be put back and are tried again: %s", error)

    def _tell_owner(self, reader: str, shard: int) -> Steps:
        [carried_out] = yield shard, [self._calls.carried_out(shard, reader)]
        if isinstance(carried_out, Exception):
            logger.warning("it is unknown which last wills were carried out: %s", carried_out)
        else:
            self._tell(reader, {local.decode() for local in carried_out})
