"""`Channel` and `Group`: what application code sends through."""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, ClassVar

from .delivery import Content, Headers, Outgoing
from .exceptions import ChannelFull
from .outbox import current_outbox
from .registry import DEFAULT_CHANNEL_LAYER, channel_layers

if TYPE_CHECKING:
    from .layer import ChannelLayer


class Channel:
    """A named channel of a layer, to send messages to.

    Args:
        name: the channel's name; bytes are read as ASCII.
        alias: which configured layer it lives on.
        channel_layer: the layer itself, instead of an alias.

    Raises:
        ValueError: the name is neither text nor ASCII bytes.
    """

    __slots__ = ("channel_layer", "name")

    def __init__(
        self, name: str | bytes, alias: str = DEFAULT_CHANNEL_LAYER, channel_layer: ChannelLayer | None = None
    ) -> None:
        self.name: str = name if isinstance(name, str) else _as_text(name, "channel")
        self.channel_layer: ChannelLayer = channel_layer if channel_layer is not None else channel_layers[alias]

    def send(self, content: Content, immediately: bool = False) -> None:
        """Send a message.

        Inside a consumer the message is encoded now and sent when the consumer returns; it is dropped
        if the consumer raises. Outside, or with ``immediately``, it is sent before this call returns.

        Raises:
            TypeError: the content is not a dict or holds a value that cannot be carried.
            ChannelFull, MessageTooLarge, LayerUnavailable: as `ChannelLayer.send`.
        """
        _hand_over(self.channel_layer, self.channel_layer.prepare(self.name, content), immediately)

    async def asend(self, content: Content, immediately: bool = False) -> None:
        """Async form of `send`: inside a consumer it is held back too, otherwise it is awaited."""
        await _ahand_over(self.channel_layer, self.channel_layer.prepare(self.name, content), immediately)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Channel {self.name}>"


class Group:
    """A named group of channels of a layer.

    Arguments and errors are those of `Channel`.
    """

    __slots__ = ("channel_layer", "name")

    def __init__(
        self, name: str | bytes, alias: str = DEFAULT_CHANNEL_LAYER, channel_layer: ChannelLayer | None = None
    ) -> None:
        self.name: str = name if isinstance(name, str) else _as_text(name, "group")
        self.channel_layer: ChannelLayer = channel_layer if channel_layer is not None else channel_layers[alias]

    def add(self, channel: Channel | str) -> None:
        """Add a channel at once, or renew its membership.

        Raises:
            InvalidName: of the group or the channel.
            LayerUnavailable: the broker cannot be reached; it may have happened nevertheless if ``uncertain``.
        """
        _warn_on_event_loop(self.channel_layer, "Group.add", "aadd")
        self.channel_layer.group_add(self.name, channel.name if isinstance(channel, Channel) else channel)

    async def aadd(self, channel: Channel | str) -> None:
        """Async form of `add`."""
        await self.channel_layer.agroup_add(self.name, channel.name if isinstance(channel, Channel) else channel)

    def discard(self, channel: Channel | str) -> None:
        """Remove a channel at once; no error if it was not a member.

        Raises:
            InvalidName: of the group or the channel.
            LayerUnavailable: the broker cannot be reached; it may have happened nevertheless if ``uncertain``.
        """
        _warn_on_event_loop(self.channel_layer, "Group.discard", "adiscard")
        self.channel_layer.group_discard(self.name, channel.name if isinstance(channel, Channel) else channel)

    async def adiscard(self, channel: Channel | str) -> None:
        """Async form of `discard`."""
        await self.channel_layer.agroup_discard(self.name, channel.name if isinstance(channel, Channel) else channel)

    def send(self, content: Content, immediately: bool = False) -> None:
        """Send a message to every member; held back inside a consumer as `Channel.send` does.

        Members whose channel is full miss the message.

        Raises:
            MessageTooLarge, InvalidName, InvalidMessage: nothing was sent.
            LayerUnavailable: where it is not held back, as of `ChannelLayer.send_group`.
        """
        _hand_over(self.channel_layer, self.channel_layer.prepare(self.name, content, group=True), immediately)

    async def asend(self, content: Content, immediately: bool = False) -> None:
        """Async form of `send`: inside a consumer it is held back too, otherwise it is awaited."""
        await _ahand_over(self.channel_layer, self.channel_layer.prepare(self.name, content, group=True), immediately)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Group {self.name}>"


def _as_text(name: object, kind: str) -> str:
    if isinstance(name, bytes) and name.isascii():
        return name.decode("ascii")
    raise ValueError(f"a {kind} name is a str, not {type(name).__name__}: {name!r}")


def _hand_over(layer: ChannelLayer, item: Outgoing, immediately: bool) -> None:
    outbox = None if immediately else current_outbox()
    if outbox is not None:
        outbox.append((layer, item))
        return
    _warn_on_event_loop(layer, "send", "asend", level=4)
    if layer.send_batch([item]):
        raise ChannelFull(item.target)


async def _ahand_over(layer: ChannelLayer, item: Outgoing, immediately: bool) -> None:
    outbox = None if immediately else current_outbox()
    if outbox is not None:
        outbox.append((layer, item))
    elif await layer.asend_batch([item]):
        raise ChannelFull(item.target)


def _warn_on_event_loop(layer: ChannelLayer, name: str, instead: str, level: int = 3) -> None:
    """Warn who waits for the layer on an event loop. No error: it works, and code that mixes both may rely on it."""
    if asyncio._get_running_loop() is not None and not getattr(layer, "local_only", False):
        warnings.warn(
            f"{name}() waits for the channel layer and holds up the event loop meanwhile; await {instead}() there",
            RuntimeWarning,
            stacklevel=level,
        )


class Message:
    """A received message, as consumers get it.

    Attributes:
        content: the message's dict; ``message["key"]``, ``in``, ``get``, ``keys``, ``values`` and
            ``items`` read it too.
        channel: the `Channel` it came from; its name is empty for a message made without one.
        reply_channel: a `Channel` made from ``content["reply_channel"]``, or ``None``.
        channel_layer: the layer it came through; the default one for a message made without.
        headers: what travelled beside the content, see `Headers`.
        state: what the sender of the message keeps for its reply channel, bytes by key, or ``None``. Set
            another dict to have the sender keep that from now on; see `carries_state`.
        user_name: name of the user, if it has become known; the sender is told it once.
        givers: attributes that others add → what adds them, for whoever looks for one that is not there.
    """

    givers: ClassVar[dict[str, str]] = {}
    user_name: str | None = None

    def __init__(
        self,
        content: dict[str, Any],
        channel_name: str | None,
        channel_layer: ChannelLayer | None,
        headers: Headers | None = None,
    ) -> None:
        self.content = content
        # Keywords would be a dict for each call.
        self.channel = Channel("" if channel_name is None else channel_name, DEFAULT_CHANNEL_LAYER, channel_layer)
        self.channel_layer = channel_layer = self.channel.channel_layer
        self.headers: Headers = headers or {}
        self.state: Mapping[str, bytes] | None = self.headers.get("state")
        reply = content.get("reply_channel")
        self.reply_channel = Channel(reply, DEFAULT_CHANNEL_LAYER, channel_layer) if reply else None

    if not TYPE_CHECKING:  # checkers know the attributes better

        def __getattr__(self, name: str) -> Any:
            """Raise `AttributeError`, which says what gives a message the attribute."""
            giver = self.givers.get(name)
            advice = f": {giver}" if giver else ""
            raise AttributeError(f"the message has no attribute {name!r}{advice}", name=name, obj=self)

    @property
    def carries_state(self) -> bool:
        """The sender waits for the end of this turn and then takes `state` back."""
        return "turn" in self.headers

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.content[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self.content

    def keys(self) -> KeysView[str]:
        """Keys of the content."""
        return self.content.keys()

    def values(self) -> ValuesView[Any]:
        """Values of the content."""
        return self.content.values()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of the content."""
        return self.content.items()

    def get(self, key: str, default: Any = None) -> Any:
        """Value of a key, or the default."""
        return self.content.get(key, default)

    def copy(self) -> Message:
        """A message whose content can be changed without changing this one's."""
        twin = Message(copy.deepcopy(self.content), self.channel.name, self.channel_layer, self.headers)
        twin.state = self.state
        return twin

    def __repr__(self) -> str:
        return f"<Message on {self.channel.name}: {sorted(self.content)}>"


class AnswerableMessage(Message):
    """A message with a reply channel, as every message of a request or a WebSocket is, for annotations.

    No message is made of this class; a consumer of such channels may rely on it.
    """

    reply_channel: Channel
