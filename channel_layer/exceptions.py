"""The exceptions of a channel layer.

::

    ChannelLayerError
    ├── ChannelFull                the channel holds as many messages as its capacity allows
    ├── MessageTooLarge            the encoded message exceeds the layer's limit
    │   └── TooManyElements        it has more numbers, texts, lists and dicts than a message may have
    ├── InvalidName (TypeError)    a channel or group name that breaks the rules
    ├── InvalidMessage (TypeError) a message that cannot be carried
    ├── LayerUnavailable           the broker cannot be reached, or did not answer in time
    │   └── LayerUnusable          the broker answers, and refuses us or lacks what the layer needs
    └── LayerConfigurationError    the configuration cannot work; the text says what to change
        ├── UnknownLayer (KeyError)    no layer has this alias
        └── LayerUnusable          the same, of a broker

At the start of a process a `LayerConfigurationError` ends it, and a `LayerUnavailable` is waited for. While it
runs, both are waited for: a password that was changed may be put right, and no connection is dropped meanwhile.

Every exception takes its facts as arguments and builds its text in ``__str__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome


def clause(error: object) -> str:
    """The text of an error as a part of a sentence that goes on, without the period that it may end with."""
    return str(error).rstrip().removesuffix(".")


class ChannelLayerError(Exception):
    """Base class of everything a channel layer raises on purpose."""


class ChannelFull(ChannelLayerError):
    """The channel is at capacity; nothing was stored. Sending again later may succeed."""

    def __init__(self, channel: str | None = None) -> None:
        self.channel = channel
        super().__init__(channel)

    def __str__(self) -> str:
        where = f"channel {self.channel!r}" if self.channel else "the channel"
        return (
            f"{where} is full: its readers do not keep up. "
            "Start more workers, or raise its capacity in CHANNEL_LAYERS (CONFIG: channel_capacity)."
        )


class MessageTooLarge(ChannelLayerError):
    """The encoded message is larger than the layer carries; nothing was stored."""

    def __init__(self, channel: str | None = None, size: int = 0, limit: int = 0) -> None:
        self.channel, self.size, self.limit = channel, size, limit
        super().__init__(channel, size, limit)

    def __str__(self) -> str:
        return (
            f"message for {self.channel!r} is too large: {self.size} bytes encoded, the limit is {self.limit}. "
            "Send it in parts, or send a reference to where it is stored."
        )


class TooManyElements(MessageTooLarge):
    """The message has more elements than any layer carries; nothing was stored."""

    def __str__(self) -> str:
        return (
            f"message for {self.channel!r} is too large: it has more than {self.limit} elements "
            "(numbers, texts, keys, lists, dicts). Send it in parts, or as one text, for example in JSON."
        )


class InvalidName(ChannelLayerError, TypeError):
    """A channel or group name of the wrong type or with characters that are not allowed."""

    def __init__(self, kind: str, name: object, reason: str) -> None:
        self.kind, self.name, self.reason = kind, name, reason
        super().__init__(kind, name, reason)

    def __str__(self) -> str:
        return f"invalid {self.kind} name {self.name!r}: {self.reason}"


class InvalidMessage(ChannelLayerError, TypeError):
    """A message that is not a dict, or holds a value that cannot be carried."""

    def __init__(self, target: str | None, reason: str) -> None:
        self.target, self.reason = target, reason
        super().__init__(target, reason)

    def __str__(self) -> str:
        where = f" for {self.target!r}" if self.target else ""
        return f"cannot send the message{where}: {self.reason}"


class LayerUnavailable(ChannelLayerError):
    """The broker is away, too slow, or takes nothing (no memory left, read only).

    A call that raises this is never repeated by the layer, because repeating it could deliver a message twice.

    Attributes:
        uncertain: whether the call may have had an effect; if it is false, nothing happened and the caller may try
            again.
        outcome: of a batch, message by message; ``None`` if they all share the fate that ``uncertain`` tells.
            `channel_layer.outcome.fates` reads both.
        reachable: whether the broker, or a part of it, answers nevertheless, so that other messages may be sent now.
    """

    def __init__(
        self,
        where: str,
        reason: str,
        uncertain: bool = True,
        outcome: Outcome | None = None,
        reachable: bool = False,
    ) -> None:
        self.where, self.reason, self.uncertain = where, reason, uncertain
        self.outcome, self.reachable = outcome, reachable
        ChannelLayerError.__init__(self, where, reason, uncertain)

    def __str__(self) -> str:
        return f"channel layer at {self.where} is unavailable: {self.reason}"


class LayerConfigurationError(ChannelLayerError):
    """The layer's configuration cannot work; the text says what to change."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason


class UnknownLayer(LayerConfigurationError, KeyError):
    """No layer of this alias is configured."""


class LayerUnusable(LayerUnavailable, LayerConfigurationError):
    """The broker was reached, and what it says is a matter of configuration.

    Whoever only cares that nothing gets through takes it as the `LayerUnavailable` that it is.
    """

    def __str__(self) -> str:
        return self.reason
