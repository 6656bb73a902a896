"""A context, sockets and layers that do no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.context import Context
from interface_server.bridge.replies import Denial, Payload
from interface_server.bridge.states import States
from interface_server.bridge.uplink import Entry, Uplink
from interface_server.options import Options
from interface_server.spool.file import SpoolFile
from interface_server.spool.spool import Spool, Work
from interface_server.wire.responses import Head


class RecordingUplink(Uplink):
    """Keeps what is put; says what it is told to say."""

    def __init__(self, layer: Any = None, options: Options | None = None) -> None:
        super().__init__(layer or MemoryChannelLayer(), options or Options())
        self.entries: list[Entry] = []
        self.accepts = True

    def put(
        self, item: Any, sender: Any = None, *, patient: bool = False, report: bool = False, kept: bool = False
    ) -> Entry | None:
        if not self.accepts:
            return None
        entry = Entry(item, sender, patient, report)
        self.entries.append(entry)
        return entry

    @property
    def targets(self) -> list[str]:
        """Channels in the order of the puts."""
        return [entry.item.target for entry in self.entries]


class HandSpools:
    """Does the work of spools when it is told to."""

    def __init__(self, file: SpoolFile) -> None:
        self.file = file
        self._waiting: deque[tuple[Spool, Work, Callable[[], None] | None]] = deque()

    def attend(self, spool: Spool, then: Callable[[], None] | None = None, *, idle: bool = False) -> None:
        work = spool.work(idle=idle)
        if work is not None:
            self._waiting.append((spool, work, then))

    def work_off(self) -> None:
        """Do it, and what follows from it, until nothing is left."""
        while self._waiting:
            spool, work, then = self._waiting.popleft()
            work.run()
            spool.done(work)
            self.attend(spool, then)
            if then is not None:
                then()


class QuietContext(Context):
    """A context whose parts are not started; time is set by hand, and the disk waits for `HandSpools.work_off`."""

    def __init__(self, layer: Any = None, **options: Any) -> None:
        chosen = Options(**options)
        self.disk = HandSpools(SpoolFile(chosen.spool_dir, chosen.spool_bytes, chosen.spool_memory))
        super().__init__(layer or MemoryChannelLayer(), chosen, self.disk)  # type: ignore[arg-type]
        self.records = RecordingUplink(self.layer, chosen)
        self.uplink = self.records
        self.states = States(self.layer, self.uplink, self.options.state_max)

    def messages_on(self, target: str) -> list[dict[str, Any]]:
        """Content of what was put for a channel."""
        found = [entry.item for entry in self.records.entries if entry.item.target == target]
        opener = MemoryChannelLayer()
        name = target[: target.find("!") + 1] or target
        messages: list[dict[str, Any]] = []
        for item in found:  # one by one: a channel holds only so many
            opener.send_batch([item])
            messages += [delivery.message for delivery in opener.receive_batch([name])]
        return messages


class FakeSocket:
    """Writes down what a connection asks of its socket."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.direct: Any = None
        self.has_room = True
        self.outbox_bytes = 0

    def accept(self, subprotocol: str | None, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.calls.append(("accept", subprotocol, *fields))

    def reject(self, status: int, denial: Denial | None = None) -> None:
        whole = () if denial is None else ([(field.name, field.value) for field in denial.head.fields], denial.content)
        self.calls.append(("reject", status, *whole))

    def send(self, payload: Payload) -> bool:
        self.calls.append(("send", payload.data))
        return self.has_room

    def queued(self, frame: bytes, waiting: int) -> bool:
        self.calls.append(("queued", frame, waiting))
        return self.has_room

    def close(self, code: int, reason: str = "") -> None:
        self.calls.append(("close", code))

    def pause(self) -> None:
        self.calls.append(("pause",))

    def resume(self) -> None:
        self.calls.append(("resume",))


class FakeWriter:
    """Writes down a response."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waiting = 0

    def start(self, head: Head, content: bytes, more: bool) -> None:
        self.calls.append(("start", head.status, content, more))

    def write(self, content: bytes, more: bool) -> None:
        self.calls.append(("write", content, more))

    def abort(self) -> None:
        self.calls.append(("abort",))

    def buffered(self) -> int:
        return self.waiting

    def pause(self) -> None:
        self.calls.append(("pause",))

    def resume(self) -> None:
        self.calls.append(("resume",))

    def expect(self) -> None:
        self.calls.append(("expect",))


def scope(kind: str = "http", **more: Any) -> dict[str, Any]:
    """An ASGI scope of the least size."""
    return {"type": kind, "method": "GET", "path": "/p", "headers": [], "scheme": "http", **more}


class FlakyLayer(MemoryChannelLayer):
    """A memory layer whose broker can be away.

    Attributes:
        away: while true every call fails.
        uncertain: whether such a call may have had an effect.
    """

    uncertain = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise LayerUnavailable("here", "away for a test", self.uncertain)

    async def asend_batch(self, items: Any) -> Any:
        self._check()
        return await super().asend_batch(items)

    async def areceive_batch(self, channels: Any, limit: int = 1, timeout: float = 0) -> Any:
        self._check()
        found = await super().areceive_batch(channels, limit, min(timeout, 0.1))
        self._check()
        return found
