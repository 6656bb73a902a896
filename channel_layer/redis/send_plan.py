"""The calls for one batch of sends, and what the answers to them mean. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from ..delivery import Outgoing
from .errors import is_refusal
from .scripts import Call, Reply, plain


class _Transaction(list[list[Outgoing]]):
    """Items by queue, whose outcome is in the reply to a transaction: to the push and to ``push_large.lua``."""


class SendOutcome:
    """Outcome of a batch on one server, read from its replies.

    Attributes:
        refused: not stored, because their channel is full.
        unsent: not stored, because the server stores nothing.
        unknown: stored or not.
        group_full: how many readers of groups were full.
        elsewhere: messages to groups, and the ordinary channels, each with its ticket, that are to get them as well.
        error: the first one among the replies.
    """

    __slots__ = ("elsewhere", "error", "group_full", "refused", "unknown", "unsent")

    def __init__(self) -> None:
        self.refused: list[Outgoing] = []
        self.unsent: list[Outgoing] = []
        self.unknown: list[Outgoing] = []
        self.group_full = 0
        self.elsewhere: list[tuple[Outgoing, list[tuple[str, bytes]]]] = []
        self.error: Exception | None = None


class SendPlan:
    """The calls for one batch of sends, and how to read the answers.

    Attributes:
        calls: by server.
        count: how many messages there are.
        last_wills_elsewhere: messages with a last will on another server, and the last will, left once they are stored.
        last_will_homes: if there are several servers, processes that leave last wills, and where.
    """

    def __init__(self) -> None:
        self.calls: dict[int, list[Call]] = {}
        self.count = 0
        self.last_wills_elsewhere: list[tuple[Outgoing, Outgoing]] = []
        self.last_will_homes: set[tuple[str, int]] = set()
        self._pushed: dict[int, list[list[list[Outgoing]] | Outgoing]] = {}

    def add_push(self, shard: int, call: Call, items: list[list[Outgoing]]) -> None:
        """A call of ``push.lua`` and its items by queue."""
        self.calls.setdefault(shard, []).append(call)
        self._pushed.setdefault(shard, []).append(items)

    def add_transaction(self, shard: int, calls: list[Call], items: list[Outgoing]) -> None:
        """Calls to run without others between them, the last of which answers as ``push.lua`` does for one queue."""
        self.calls.setdefault(shard, []).extend([plain("MULTI"), *calls, plain("EXEC")])
        accepted: list[list[list[Outgoing]] | Outgoing] = [[] for _ in range(len(calls) + 1)]
        self._pushed.setdefault(shard, []).extend([*accepted, _Transaction([items])])

    def add_group(self, shard: int, call: Call, item: Outgoing) -> None:
        """A call of ``group_send.lua``."""
        self.calls.setdefault(shard, []).append(call)
        self._pushed.setdefault(shard, []).append(item)

    def messages(self, shard: int) -> list[Outgoing]:
        """Messages that go to a server."""
        return [item for pushed in self._pushed[shard] for item in _items_of(pushed)]

    def read(self, shard: int, replies: Sequence[Reply]) -> SendOutcome:
        """Read a server's replies."""
        answers = SendOutcome()
        for reply, pushed in zip(replies, self._pushed[shard], strict=True):
            if type(pushed) is _Transaction and type(reply) is list:
                push, reply = reply
                if isinstance(push, Exception):
                    reply = push
                elif isinstance(reply, Exception):
                    continue  # they lie on the queue, and only the book-keeping behind them failed
            if isinstance(reply, Exception):
                answers.error = answers.error or reply
                (answers.unsent if is_refusal(reply) else answers.unknown).extend(_items_of(pushed))
            elif isinstance(pushed, Outgoing):
                if type(reply) is list:
                    reply, *found = reply
                    channels = [name.decode() for name in found[::2]]
                    answers.elsewhere.append((pushed, list(zip(channels, found[1::2], strict=True))))
                answers.group_full += int(reply)
            elif reply and pushed:
                for count, items in zip(reply, pushed, strict=True):
                    if count:
                        answers.refused += items[-count:]
        return answers


def _items_of(pushed: list[list[Outgoing]] | Outgoing) -> list[Outgoing]:
    return [pushed] if isinstance(pushed, Outgoing) else [item for items in pushed for item in items]
