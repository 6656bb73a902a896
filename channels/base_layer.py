"""`BaseChannelLayer`: the class that layers for Channels 2 to 4 inherit from."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeGuard

from channel_layer.delivery import Content, Message

__all__ = ["BaseChannelLayer"]

DEFAULT_CAPACITY = 100


class BaseChannelLayer:
    """Rules for names and capacities; the coroutines are the subclass's to write.

    Args:
        expiry: seconds a message waits for a receiver.
        capacity: messages a channel may hold.
        channel_capacity: rules of `get_capacity`: pairs as `compile_capacities` returns them.
    """

    MAX_NAME_LENGTH: ClassVar[int] = 100
    """Names are shorter than this."""

    channel_name_regex: ClassVar[re.Pattern[str]] = re.compile(r"^[a-zA-Z\d\-_.]+(\![\d\w\-_.]*)?$")
    group_name_regex: ClassVar[re.Pattern[str]] = re.compile(r"^[a-zA-Z\d\-_.]+$")
    invalid_name_error: ClassVar[str] = (
        "{} name must be a valid unicode string with length < 100 containing only ASCII alphanumerics, hyphens, "
        "underscores, or periods."
    )

    def __init__(self, expiry: float = 60, capacity: int = DEFAULT_CAPACITY, channel_capacity: Any = None) -> None:
        self.expiry = expiry
        self.capacity = capacity
        self.channel_capacity = channel_capacity or {}

    # -- capacities ------------------------------------------------------------------------------

    def compile_capacities(self, channel_capacity: Mapping[Any, int]) -> list[tuple[re.Pattern[str], int]]:
        """Turn names, globs and compiled expressions with their capacities into what `get_capacity` reads."""
        return [
            (pattern if hasattr(pattern, "match") else re.compile(fnmatch.translate(pattern)), capacity)
            for pattern, capacity in channel_capacity.items()
        ]

    def get_capacity(self, channel: str) -> int:
        """Capacity of a channel: that of the first rule whose pattern matches, else ``capacity``."""
        for pattern, capacity in self.channel_capacity:
            if pattern.match(channel):
                return int(capacity)
        return self.capacity

    # -- names -----------------------------------------------------------------------------------

    def match_type_and_length(self, name: object) -> TypeGuard[str]:
        """True for text that is short enough for a name."""
        return isinstance(name, str) and len(name) < self.MAX_NAME_LENGTH

    def require_valid_channel_name(self, name: Any, receive: bool = False) -> bool:
        """Return True, or raise `TypeError` for what is not a channel name.

        Args:
            name: any object.
            receive: whether the name is one to receive from, which ends with its ``!`` if it has one.
        """
        self._require(name, self.channel_name_regex, "Channel")
        if receive and "!" in name and not name.endswith("!"):
            raise TypeError("Specific channel names in receive() must end at the !")
        return True

    def require_valid_group_name(self, name: object) -> bool:
        """Return True, or raise `TypeError` for what is not a group name."""
        self._require(name, self.group_name_regex, "Group")
        return True

    def _require(self, name: object, pattern: re.Pattern[str], kind: str) -> None:
        if not (self.match_type_and_length(name) and pattern.match(name)):
            raise TypeError(self.invalid_name_error.format(kind))

    def valid_channel_names(self, names: Iterable[object], receive: bool = False) -> bool:
        """Return True for a list of channel names; raises `TypeError` for one that is none."""
        assert isinstance(names, list), "names must be a list"
        assert names, "names must not be empty"
        return all(self.require_valid_channel_name(name, receive) for name in names)

    def non_local_name(self, name: str) -> str:
        """The part up to and including the ``!``; the whole name if there is none."""
        head, mark, _ = name.partition("!")
        return head + mark

    def valid_channel_name(self, channel_name: object, receive: bool = False) -> bool:
        """Do what `require_valid_channel_name` does. Deprecated."""
        _warn("valid_channel_name", "require_valid_channel_name")
        return self.require_valid_channel_name(channel_name, receive)

    def valid_group_name(self, group_name: object) -> bool:
        """Do what `require_valid_group_name` does. Deprecated."""
        _warn("valid_group_name", "require_valid_group_name")
        return self.require_valid_group_name(group_name)

    # -- for the subclass ------------------------------------------------------------------------

    async def send(self, channel: str, message: Content) -> None:
        """Send a message to a channel; raises `channels.exceptions.ChannelFull`."""
        raise NotImplementedError(f"{type(self).__name__} has no send(), which a channel layer needs")

    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a channel."""
        raise NotImplementedError(f"{type(self).__name__} has no receive(), which a channel layer needs")

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Make the name of a channel that this process receives from."""
        raise NotImplementedError(f"{type(self).__name__} has no new_channel(), which a channel layer needs")

    async def flush(self) -> None:
        """Remove all messages and groups."""
        raise NotImplementedError(f"{type(self).__name__} has no flush(), which the extension 'flush' needs")

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group."""
        raise NotImplementedError(f"{type(self).__name__} has no group_add(), which the extension 'groups' needs")

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group."""
        raise NotImplementedError(f"{type(self).__name__} has no group_discard(), which the extension 'groups' needs")

    async def group_send(self, group: str, message: Content) -> None:
        """Send a message to each member of a group."""
        raise NotImplementedError(f"{type(self).__name__} has no group_send(), which the extension 'groups' needs")


def _warn(name: str, instead: str) -> None:
    warnings.warn(f"{name} is deprecated, use {instead} instead.", DeprecationWarning, stacklevel=3)
