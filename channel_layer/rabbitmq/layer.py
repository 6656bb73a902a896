"""The rabbitmq layer: the contract of `ChannelLayer` on RabbitMQ."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import names
from ..delivery import Delivery, Outgoing
from ..exceptions import LayerConfigurationError
from ..forks import forget_in_children
from ..layer import ChannelLayer, Statistics
from ..members import MembershipIndex
from ..reports import REPORTS
from .amqp import parameters
from .engine import CALL_SECONDS, Engine
from .errors import failed
from .loop_thread import LoopThread, undisturbed
from .schema import Schema
from .sending import Sent

QUEUE_TYPES = ("classic", "quorum")

FLUSH_SECONDS = 60.0
"""Time that removing everything may take."""


class RabbitmqChannelLayer(ChannelLayer):
    """Channels and groups on queues and exchanges of RabbitMQ, version 3.8 or later.

    Args:
        url: address of the broker: ``amqp://user:password@host:5672/virtual_host`` (``amqps`` with TLS), or a list of
            those of the nodes of a cluster, which are tried in turn.
        prefix: begins the names of all queues and exchanges. Projects that share a virtual host need one each.
        queue_type: ``classic``, or ``quorum`` to have ordinary channels replicated on the nodes of a cluster.
        options: those of `ChannelLayer`.

    A process has two connections, in a thread of its own, for all its threads and event loops.

    Raises:
        LayerConfigurationError: an option cannot work.
    """

    extensions: list[str] = [*ChannelLayer.extensions, "last_wills", REPORTS]

    def __init__(
        self,
        url: str | Sequence[str] = "amqp://guest:guest@localhost:5672/%2F",
        *,
        prefix: str = "millrace:",
        queue_type: str = "classic",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._urls: list[Any] = list(url) if isinstance(url, (list, tuple)) else [url]
        self._where = _places(self._urls)
        if not isinstance(prefix, str) or not prefix or "#" in prefix or len(prefix) > 40 or not prefix.isprintable():
            raise LayerConfigurationError(f"prefix must be a text of 1 to 40 characters without '#', not {prefix!r}")
        if queue_type not in QUEUE_TYPES:
            raise LayerConfigurationError(f"queue_type must be one of {', '.join(QUEUE_TYPES)}, not {queue_type!r}")
        self._schema = Schema(prefix, self.expiry, self.presence, queue_type == "quorum")
        self._thread = LoopThread("millrace-rabbitmq")
        self._engine: Engine | None = None
        forget_in_children(self)

    @property
    def prefix(self) -> str:
        """Beginning of the names of all queues."""
        return self._schema.prefix

    # -- messages --------------------------------------------------------------------------------

    def send_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`. Blocks for up to seven seconds."""
        return self._refused(self._thread.run(self._send(items))) if items else []

    async def asend_batch(self, items: Sequence[Outgoing]) -> list[Outgoing]:
        """See `ChannelLayer.send_batch`."""
        return self._refused(await self._thread.arun(lambda: self._send(items))) if items else []

    def receive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`."""
        names.check_receivers(channels)
        return self._thread.run(self._receive(channels, limit, timeout, True))

    async def areceive_batch(self, channels: Sequence[str], limit: int = 1, timeout: float = 0) -> list[Delivery]:
        """See `ChannelLayer.receive_batch`. Waiting takes no thread."""
        names.check_receivers(channels)
        return await self._thread.arun(lambda: self._receive(channels, limit, timeout, False), self._regret)

    async def astop_receiving(self, channels: Sequence[str]) -> None:
        """See `ChannelLayer.astop_receiving`."""
        await self._thread.arun(lambda: self._call(lambda engine: engine.stop_receiving(channels)))

    def interrupt(self) -> None:
        """See `ChannelLayer.interrupt`."""
        engine = self._engine
        if engine is not None:
            self._thread.soon(engine.receiver.interrupt)

    def _put_front(self, channel: str, items: Sequence[Outgoing], expires: Sequence[float | None]) -> None:
        if items:
            self._thread.run(self._call(lambda engine: engine.put_front(items, expires)))

    async def aoldest_age(self, channel: str) -> float | None:
        """See `ChannelLayer.aoldest_age`."""
        reader = names.split(channel)[0]
        return await self._thread.arun(lambda: self._call(lambda engine: engine.age(reader)))

    def waited(self, deliveries: Sequence[Delivery]) -> list[float]:
        """See `ChannelLayer.waited`. Goes by the clocks of the machines."""
        latest = time.time() + self.expiry
        return [max(0.0, latest - item.expires) for item in deliveries if item.expires]

    # -- groups ----------------------------------------------------------------------------------

    def group_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        self._thread.run(self._add(group, channel))

    async def agroup_add(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_add`."""
        await self._thread.arun(lambda: self._add(group, channel))

    def group_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        self._thread.run(self._discard(group, channel))

    async def agroup_discard(self, group: str, channel: str) -> None:
        """See `ChannelLayer.group_discard`."""
        await self._thread.arun(lambda: self._discard(group, channel))

    def group_channels(self, group: str) -> list[str]:
        """See `ChannelLayer.group_channels`."""
        names.check_group(group)
        return self._thread.run(self._call(lambda engine: engine.memberships.channels(group)))

    async def aforget(self, channels: Iterable[str]) -> None:
        """See `ChannelLayer.aforget`."""
        gone = [names.check_channel(channel) for channel in channels]
        if gone:
            await self._thread.arun(lambda: self._call(lambda engine: engine.memberships.forget(gone)))

    # -- reports ---------------------------------------------------------------------------------

    def _put_report(self, name: str, data: bytes, seconds: float) -> None:
        self._thread.run(self._call(lambda engine: engine.put_report(name, data, seconds)))

    async def _aput_report(self, name: str, data: bytes, seconds: float) -> None:
        await self._thread.arun(lambda: self._call(lambda engine: engine.put_report(name, data, seconds)))

    def _kept_reports(self) -> list[tuple[str, bytes | None, float]]:
        return self._thread.run(self._call(lambda engine: engine.reports()))

    async def _akept_reports(self) -> list[tuple[str, bytes | None, float]]:
        return await self._thread.arun(lambda: self._call(lambda engine: engine.reports()))

    # -- the rest --------------------------------------------------------------------------------

    def flush(self) -> None:
        """See `ChannelLayer.flush`."""
        self._thread.run(self._call(lambda engine: engine.flush(), FLUSH_SECONDS))
        self._copies.clear()

    def global_statistics(self) -> Statistics:
        """See `ChannelLayer.global_statistics`. Messages that other processes sent may be missing for a second."""
        return self._thread.run(self._statistics(None))

    def channel_statistics(self, channel: str) -> Statistics:
        """See `ChannelLayer.channel_statistics`. Messages that other processes have in hand are not pending."""
        return self._thread.run(self._statistics(names.split(names.check_channel(channel))[0]))

    def check(self) -> None:
        """See `ChannelLayer.check`."""
        self._thread.run(self._call(lambda engine: engine.check()))

    def close(self) -> None:
        """See `ChannelLayer.close`; what other threads or loops are waiting for goes on."""
        if self._engine is not None and self._thread.is_idle:
            self._thread.run(self._end())
            self._thread.stop()

    async def aclose(self) -> None:
        """See `ChannelLayer.aclose`; what other threads or loops are waiting for goes on."""
        if self._engine is not None and self._thread.is_idle:
            await self._thread.arun(self._end)
            await asyncio.to_thread(self._thread.stop)

    def describe(self) -> str:
        """See `ChannelLayer.describe`."""
        return f"RabbitMQ at {self._where}, prefix {self._schema.prefix}"

    def forget(self) -> None:
        """Begin anew in a process that was forked: what the parent reads, and its members there, are the parent's."""
        self._thread.forget()
        self._engine = None
        self.index = MembershipIndex()

    # -- inside, in the thread -------------------------------------------------------------------

    def _running(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(self, self._urls, self._where, self._schema)
        return self._engine

    async def _end(self) -> None:
        # In the thread, so that calls which were withdrawn before have their engine to regret what they took.
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._thread.withdrawn(CALL_SECONDS)
            await undisturbed(engine.close())

    async def _send(self, items: Sequence[Outgoing]) -> Sent:
        return await self._running().send(items)

    async def _receive(
        self, channels: Sequence[str], limit: int, timeout: float, interruptible: bool
    ) -> list[Delivery]:
        return await self._running().receive(channels, limit, timeout, interruptible)

    def _regret(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries and self._engine is not None:
            self._engine.regret(deliveries)

    async def _call(self, work: Callable[[Engine], Awaitable[Any]], seconds: float = CALL_SECONDS) -> Any:
        engine = self._running()
        return await engine.call(lambda: work(engine), seconds)

    async def _add(self, group: str, channel: str) -> None:
        names.check_group(group)
        names.check_channel(channel)
        await self._call(lambda engine: engine.memberships.add(group, channel))

    async def _discard(self, group: str, channel: str) -> None:
        names.check_group(group)
        names.check_channel(channel)
        await self._call(lambda engine: engine.memberships.discard(group, channel))

    async def _statistics(self, reader: str | None) -> Statistics:
        found: Statistics = await self._call(lambda engine: engine.statistics(reader))
        return found

    def _refused(self, sent: Sent) -> list[Outgoing]:
        if sent.error is not None:
            error = failed(sent.error, self._where, uncertain=bool(sent.outcome.unknown))
            error.outcome = sent.outcome
            raise error
        return list(sent.outcome.refused)


def _places(urls: Sequence[str]) -> str:
    """Addresses of the brokers without passwords; raises `LayerConfigurationError` for anything else."""
    if not urls:
        raise LayerConfigurationError("url must name a broker: amqp://user:password@host:5672/virtual_host")
    found = [_place(url) for url in urls]
    if None in found:
        raise LayerConfigurationError(
            "url must be an address such as amqp://user:password@host:5672/virtual_host, or a list of such. Characters "
            "of a password or a virtual host that have a meaning in addresses are written as %2F and the like."
        )
    hosts, virtual_hosts = zip(*(place for place in found if place is not None), strict=True)
    return f"{', '.join(hosts)}, virtual host {', '.join(sorted(set(virtual_hosts)))}"


def _place(url: object) -> tuple[str, str] | None:
    """Host with port, and virtual host; ``None`` for anything but an address, as parts of a password may be in it."""
    try:
        assert isinstance(url, str)
        parts = urlsplit(url)
        assert parts.scheme in ("amqp", "amqps")
        assert parts.hostname
        assert not parts.fragment
        assert "@" not in parts.path + parts.query
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        parameters(url, 1, 10, "")
    except (AssertionError, ValueError, TypeError):
        return None
    virtual_host = unquote(parts.path[1:]) or "/"
    return f"{parts.hostname}:{port}", virtual_host
