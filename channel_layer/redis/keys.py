"""The keys in Redis. No I/O.

Behind the layer's prefix::

    c:<reader>           list    queue; a reader is a channel, or a name up to and including "!"
    g:<group>            zset    readers with members in the group → time they expire
    m:<group>:<reader>   zset    local parts in the group → time they expire
    p:<reader>           string  presence: capacity of the reader; expires when its process is gone
    s:<reader>           hash    statistics: sent, full, since; "s:" is the whole layer
    t:<group>:<reader>   string  with encryption: the ticket of an ordinary channel in the group
    w:<reader>           hash    last wills: local part → capacity ":" channel ":" frame
    w:                   zset    processes that have left last wills → when to see whether they are alive
    x:<reader>           set     local parts whose last wills were carried out
    q:<reader>           string  mark of a process that seems to be gone
    r:                   hash    reports: process → when it reported, when that is dropped, the report
    e:                   zset    processes with a report → when that is dropped
    f:                   string  with Sentinel: the server that the data lies on, and since when

With several servers everything about a group lies on the group's: its readers and members, the presence of
those, and the entries of its messages on the queues of processes, which have one on each server. An ordinary channel
has its queue on its own server. Last wills are on the server of the channel they are for, and the presence of their
process too; a report is on that of the name of its process.
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import names
from ..exceptions import InvalidName


class Keys:
    """The keys of one layer.

    Attributes:
        queues, presences, last_wills, carried_out, marks: what the keys of that kind begin with; the reader follows.
        all_statistics: key of the statistics of the whole layer.
        processes: key of the processes that have left last wills.
        reports, report_ends: keys of the reports of processes, and of when they are dropped.
        fence: key of the server that the data lies on.
    """

    __slots__ = (
        "all_statistics",
        "carried_out",
        "fence",
        "last_wills",
        "marks",
        "prefix",
        "presences",
        "processes",
        "queues",
        "report_ends",
        "reports",
    )

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.queues = f"{prefix}c:"
        self.presences = f"{prefix}p:"
        self.all_statistics = f"{prefix}s:"
        self.last_wills = self.processes = f"{prefix}w:"
        self.carried_out = f"{prefix}x:"
        self.marks = f"{prefix}q:"
        self.reports = f"{prefix}r:"
        self.report_ends = f"{prefix}e:"
        self.fence = f"{prefix}f:"

    def reader_of(self, queue: bytes) -> str:
        """The reader whose queue has this key."""
        return queue.decode()[len(self.queues) :]

    def statistics(self, reader: str) -> str:
        """Key of a reader's statistics."""
        # Names with a random part would leave one hash each behind, so their mark stands for all of them.
        head, mark, _ = reader.partition("?")
        return f"{self.prefix}s:{head}{mark}"

    def group(self, group: str) -> str:
        """Key of the readers of a group."""
        return f"{self.prefix}g:{group}"

    def members(self, group: str, reader: str) -> str:
        """Key of the members of a group in one process; without a reader what all of them begin with."""
        return f"{self.prefix}m:{group}:{reader}"

    def ticket(self, group: str, reader: str) -> str:
        """Key of an ordinary channel's ticket in a group; without a reader what all of them begin with."""
        return f"{self.prefix}t:{group}:{reader}"

    def pattern(self, kind: str = "") -> str:
        """The glob that matches all keys of the layer, or those of one kind, and no others."""
        return "".join(f"\\{char}" if char in "*?[]^\\" else char for char in self.prefix) + kind + "*"

    def group_of(self, key: bytes) -> str | None:
        """The group whose readers are under this key; ``None`` if another layer has put it there."""
        try:
            return names.check_group(key.decode()[len(self.prefix) + 2 :])
        except (InvalidName, UnicodeDecodeError):
            return None

    def memberships(self, keys: Iterable[bytes]) -> list[tuple[str, str]]:
        """Group and reader of those of the keys that hold the members of a group in one process."""
        head = f"{self.prefix}m:"
        found = [key.decode()[len(head) :].split(":", 1) for key in keys if key.startswith(head.encode())]
        return [(group, reader) for group, reader in found]
