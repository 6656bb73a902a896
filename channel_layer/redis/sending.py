"""The outcome of one batch of sends over all servers. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from ..delivery import Outgoing
from ..exceptions import LayerConfigurationError, LayerUnavailable
from ..layer import Counters
from ..outcome import Outcome
from .errors import translate
from .hosts import Host
from .plan import Planner
from .scripts import Reply
from .send_plan import SendPlan
from .steps import Steps


class Sending:
    """Gathers refusals and failures, server by server, and says in the end what became of each message.

    Args:
        plan: what is sent.
        counters: where possible losses and full group readers are counted.
        hosts: the servers.
    """

    def __init__(self, plan: SendPlan, counters: Counters, hosts: Sequence[Host]) -> None:
        self._plan = plan
        self._counters = counters
        self._hosts = hosts
        self._refused: list[Outgoing] = []
        self._unsent: list[Outgoing] = []
        self._unknown: list[Outgoing] = []
        self._failure: LayerUnavailable | None = None
        self._answered: list[int] = []
        self._elsewhere: list[tuple[Outgoing, list[tuple[str, bytes]]]] = []

    def failed(self, shard: int, error: LayerUnavailable) -> None:
        """Sending to one server failed, which is kept for `finish`."""
        self._failure = self._failure or error
        (self._unknown if error.uncertain else self._unsent).extend(self._plan.messages(shard))

    def answered(self, shard: int, replies: Sequence[Reply]) -> None:
        """A server's replies have come; there may be errors of single commands among them."""
        self._answered.append(shard)
        answers = self._plan.read(shard, replies)
        self._refused += answers.refused
        self._counters.group_full += answers.group_full
        self._elsewhere += answers.elsewhere
        outage = self._hosts[shard].outage
        if answers.error is not None:
            self._unsent += answers.unsent
            self._unknown += answers.unknown
            error = translate(answers.error, self._hosts[shard].name)
            if self._failure is None or isinstance(error, LayerConfigurationError):
                self._failure = error
            if answers.unsent:
                outage.refused(str(answers.error))
        elif outage.is_refusing:
            outage.accepted()

    @property
    def is_to_be_passed_on(self) -> bool:
        """True if groups have ordinary channels, whose queues may lie on other servers; see `pass_on`."""
        return bool(self._elsewhere)

    def pass_on(self, planner: Planner) -> Steps:
        """Send messages to groups on to their ordinary channels. If that fails, nobody knows who has them."""
        for item, channels in self._elsewhere:
            plan = planner.pass_on(item, channels)
            for shard, calls in plan.calls.items():
                try:
                    answers = plan.read(shard, (yield shard, calls))
                except LayerUnavailable as error:
                    self._failure = self._failure or error
                    self._unknown.append(item)
                    continue
                self._counters.group_full += len(answers.refused)
                if answers.error is not None:
                    self._failure = self._failure or translate(answers.error, self._hosts[shard].name)
                    self._unknown.append(item)

    def stored(self, pairs: Sequence[tuple[Outgoing, Outgoing]]) -> list[Outgoing]:
        """The second of each pair whose first was surely stored."""
        stored = {id(item) for shard in self._answered for item in self._plan.messages(shard)}
        for others in (self._refused, self._unsent, self._unknown):
            stored.difference_update(map(id, others))
        return [follower for item, follower in pairs if id(item) in stored]

    def finish(self) -> list[Outgoing]:
        """The refused items.

        Raises:
            LayerUnavailable, LayerUnusable: a server failed; with the `Outcome`.
        """
        failure = self._failure
        if failure is None:
            return self._refused
        outcome = self._outcome()
        self._counters.possible_losses += len(outcome.unknown)
        stored_any = self._plan.count > len(outcome.refused) + len(outcome.unsent) + len(outcome.unknown)
        others_are_up = len(self._hosts) > 1 and not all(host.outage.is_down for host in self._hosts)
        raise type(failure)(
            failure.where,
            failure.reason,
            uncertain=bool(outcome.unknown) or stored_any,
            outcome=outcome,
            reachable=bool(self._answered) or others_are_up,
        ) from failure

    def _outcome(self) -> Outcome:
        """One fate for each message; it may be unknown on several servers who has one to a group."""
        return Outcome(self._refused, self._unsent, list({id(item): item for item in self._unknown}.values()))
