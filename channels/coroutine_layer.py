"""Layers of this project with the coroutines that Channels 2 to 4 gave them."""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from channel_layer import names
from channel_layer.backoff import Backoff
from channel_layer.delivery import Content, Message
from channel_layer.exceptions import LayerUnavailable
from channel_layer.forks import forget_in_children
from channel_layer.layer import BLOCK_SECONDS, ChannelLayer
from channel_layer.mailboxes import FIRST_RETRY, LAST_RETRY, Mailboxes
from channel_layer.memory import MemoryChannelLayer

from .base_layer import DEFAULT_CAPACITY, BaseChannelLayer

__all__ = ["CoroutineChannelLayer", "InMemoryChannelLayer", "capacities"]

_OWN = "process-"

SHARED_CAPACITY: Final = 10_000
"""Messages of a channel that many connections share; ``capacity`` of Channels 4 is for one connection."""

_SHARED = re.compile(rf"(?:http\.(?!request\.body\?)|websocket\.|asgi\.|daphne\.|worker\.)|.*{_OWN}[\w-]+!\Z")


def capacities(channel_capacity: Mapping[Any, int] | None) -> dict[Any, int]:
    """Rules for a `ChannelLayer`'s ``channel_capacity`` that keep channels of this project's own large enough."""
    return {**(channel_capacity or {}), _SHARED: SHARED_CAPACITY}


class CoroutineChannelLayer(BaseChannelLayer):
    """The interface of Channels 2 to 4 over a `ChannelLayer`.

    Messages are encoded when they are sent, so nothing is shared between sender and receiver, and what a layer cannot
    carry (`datetime`, sets, keys that are not text) is a `TypeError` where it is sent.

    Attributes:
        channel_layer: the layer below, the same object that `Group` and `Channel` send through.

    Args:
        channel_layer: any layer.
        capacity: messages that wait for one channel of `new_channel`; the layer's own capacity if left out.
        channel_capacity: name, glob or compiled expression → capacity, for the same channels.
    """

    receives_for_others: ClassVar[bool] = True
    """True if process-specific channels that another process made can be received from."""

    def __init__(
        self,
        channel_layer: ChannelLayer,
        capacity: int | None = None,
        channel_capacity: Mapping[Any, int] | None = None,
    ) -> None:
        super().__init__(
            channel_layer.expiry,
            channel_layer.capacity.default if capacity is None else capacity,
            self.compile_capacities(channel_capacity or {}),
        )
        self.channel_layer = channel_layer
        self.group_expiry = channel_layer.group_expiry
        forget_in_children(self)
        self.forget()

    def forget(self) -> None:
        """Take another name in a process that was forked: two readers of one name would take each other's messages."""
        self._lock = threading.Lock()
        self._process = _OWN + secrets.token_urlsafe(12)
        self._mailboxes: dict[str, Mailboxes] = {}

    @property
    def extensions(self) -> list[str]:
        """Those of "groups" and "flush" that the layer has."""
        return [name for name in ("groups", "flush") if name in self.channel_layer.extensions]

    # -- messages --------------------------------------------------------------------------------

    async def send(self, channel: str, message: Content) -> None:
        """Send a message to a channel.

        Raises:
            ChannelFull: the channel is at capacity.
            TypeError: the name is none, or the message cannot be carried.
            MessageTooLarge, LayerUnavailable: as `ChannelLayer.send`.
        """
        self.require_valid_channel_name(channel)
        await self.channel_layer.asend(channel, message)

    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel, as long as it takes and whether or not the broker is away.

        Cancelling it may lose a message, but not on a channel of `new_channel`.

        Raises:
            TypeError: the name is none.
            AssertionError: it is a channel of another process, where the layer does not receive for others.
        """
        self.require_valid_channel_name(channel)
        reader, local = names.split(channel)
        if not local:
            return await self._receive_shared(channel)
        if not (self.receives_for_others or reader.endswith(self._process + "!")):
            raise AssertionError(f"{channel!r} is a channel of another process, so this one cannot receive from it")
        return await self._mailboxes_of(reader).receive(channel)

    async def _receive_shared(self, channel: str) -> Message:
        retries = Backoff(FIRST_RETRY, LAST_RETRY)
        while True:
            try:
                deliveries = await self.channel_layer.areceive_batch([channel], 1, BLOCK_SECONDS)
            except LayerUnavailable:
                await asyncio.sleep(retries.next())
                continue
            retries.reset()
            for delivery in deliveries:
                return delivery.message

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Make an unguessable channel name. This process receives from it, in any of its event loops, and no other."""
        return names.new_name(f"{prefix.removesuffix('.')}.{self._process}!")

    def _mailboxes_of(self, reader: str) -> Mailboxes:
        with self._lock:
            boxes = self._mailboxes.get(reader)
            if boxes is None:
                boxes = self._mailboxes[reader] = Mailboxes(self.channel_layer, reader, self.get_capacity)
            return boxes

    # -- groups ----------------------------------------------------------------------------------

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, or renew its membership for ``group_expiry`` seconds.

        Raises:
            TypeError: of the group or the channel.
            LayerUnavailable: as `ChannelLayer.group_add`.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self.channel_layer.agroup_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group; no error if it was not in it. Raises as `group_add`."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self.channel_layer.agroup_discard(group, channel)

    async def group_send(self, group: str, message: Content) -> None:
        """Send a message to every member; those whose channel is full miss it.

        Raises:
            TypeError: the name is none, or the message cannot be carried.
            MessageTooLarge, LayerUnavailable: as `ChannelLayer.send_group`.
        """
        self.require_valid_group_name(group)
        await self.channel_layer.asend_group(group, message)

    # -- the rest --------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Remove all messages and groups of the layer, and what waits in this process."""
        if self.channel_layer.local_only:
            self.channel_layer.flush()
        else:
            await asyncio.to_thread(self.channel_layer.flush)
        with self._lock:
            every = list(self._mailboxes.values())
        for boxes in every:
            boxes.clear()

    async def close_pools(self) -> None:
        """Release what the running event loop holds. Loops that end in order do so by themselves."""
        loop = asyncio.get_running_loop()
        with self._lock:
            every = list(self._mailboxes.values())
        ending = [task for boxes in every if (task := boxes.retire(loop)) is not None]
        await asyncio.gather(*ending, return_exceptions=True)
        await self.channel_layer.aclose()

    async def close(self) -> None:
        """Do the same as `close_pools`."""
        await self.close_pools()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.channel_layer.describe()}>"


class InMemoryChannelLayer(CoroutineChannelLayer):
    """`channel_layer.memory.MemoryChannelLayer` with the arguments and coroutines of Channels 4.

    Args:
        expiry: seconds a message waits for a receiver.
        group_expiry: seconds a membership lasts.
        capacity: messages a channel may hold.
        channel_capacity: name, glob or compiled expression → capacity.
    """

    channel_layer: MemoryChannelLayer

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: int = 86_400,
        capacity: int = DEFAULT_CAPACITY,
        channel_capacity: Mapping[Any, int] | None = None,
    ) -> None:
        layer = MemoryChannelLayer(
            expiry=expiry,
            group_expiry=group_expiry,
            capacity=capacity,
            channel_capacity=capacities(channel_capacity),
        )
        super().__init__(layer, capacity, channel_capacity)

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of which somebody waits for a message, or on which messages wait, and how many. A copy."""
        with self._lock:
            every = list(self._mailboxes.values())
        found = self.channel_layer.waiting()
        for boxes in every:
            found.update(boxes.channels())
        return found

    @property
    def groups(self) -> Mapping[str, list[str]]:
        """Groups and their members. A copy."""
        return self.channel_layer.memberships()
