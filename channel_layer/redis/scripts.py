"""The Lua scripts, read from the files beside this one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, TypeAlias

LARGE_BYTES = 16_384
"""From this size on a message is pushed by Redis' own command instead of by a script, see ``push_large.lua``, and is
written in pieces.
"""


class LargeWord(tuple[bytes, ...]):
    """A word of `LARGE_BYTES` or more, in pieces that are not joined before they are written; for a `LargeCall`."""

    __slots__ = ()


Word: TypeAlias = str | bytes | int | float | LargeWord
"""One word of a command."""

Reply: TypeAlias = Any
"""A reply as hiredis parses it: bytes, an integer, a list of these, ``None``, or the error as an exception.

A large string may be a `memoryview` instead, see `channel_layer.redis.wire.ReplyReader`.
"""


class Script:
    """One script: its text and the digest that Redis knows it by.

    Args:
        name: of its file.
        shortest: see below.
        prelude: put ``prelude.lua`` in front of it.
        without_memory: whether it may run while the server has reached ``maxmemory``. Any other script that stores
            something is refused then, before it has done anything.

    Attributes:
        name: of its file, without the ending.
        shortest: bytes of its shortest answer, which says that nothing is the matter; any other is longer.
    """

    __slots__ = ("digest", "name", "shortest", "text")

    def __init__(self, name: str, shortest: bytes = b"", *, prelude: bool = True, without_memory: bool = False) -> None:
        self.name = name
        self.shortest = len(shortest)
        parts = ["prelude", name] if prelude else [name]
        text = b"".join(files(__package__).joinpath(f"{part}.lua").read_bytes() for part in parts)
        self.text = b"#!lua flags=allow-oom\n" + text if without_memory else text
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest()


PUSH: Final = Script("push", shortest=b"$-1\r\n")
PUSH_LARGE: Final = Script("push_large")
PUSH_WITH_LAST_WILLS: Final = Script("push_with_last_wills", shortest=b"$-1\r\n")
PUSH_FRONT: Final = Script("push_front", without_memory=True)
GROUP_SEND: Final = Script("group_send", shortest=b":0\r\n")
GROUP_JOIN: Final = Script("group_join")
GROUP_LEAVE: Final = Script("group_leave")
GROUP_CHANNELS: Final = Script("group_channels")
CARRY_OUT_LAST_WILLS: Final = Script("carry_out_last_wills")
REPORT: Final = Script("report")
PEEK: Final = Script("peek")
FENCE: Final = Script("fence", without_memory=True)

ALL: Final = (
    PUSH,
    PUSH_LARGE,
    PUSH_WITH_LAST_WILLS,
    PUSH_FRONT,
    GROUP_SEND,
    GROUP_JOIN,
    GROUP_LEAVE,
    GROUP_CHANNELS,
    CARRY_OUT_LAST_WILLS,
    REPORT,
)
"""Those that every process uses."""

FOR_OPERATORS: Final = (PEEK,)
"""Those of `channel_layer.redis.inspection`, sent when somebody looks: no other process has to be allowed them."""


class Call:
    """One script with its keys and arguments, or a plain command if ``script`` is ``None``."""

    __slots__ = ("args", "keys", "script")

    def __init__(self, script: Script | None, keys: list[str], args: Sequence[Word]) -> None:
        self.script = script
        self.keys = keys
        self.args = args

    def command(self) -> tuple[Word, ...]:
        """The Redis command, with the script by its digest."""
        if self.script is None:
            return (*self.args,)
        return ("EVALSHA", self.script.digest, len(self.keys), *self.keys, *self.args)

    def command_with_text(self) -> tuple[Word, ...]:
        """The same with the script's text, for a server that does not know the digest."""
        assert self.script is not None
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


class LargeWords(tuple[Word, ...]):
    """A command with large words; `channel_layer.redis.wire.pack` joins them instead of copying them step by step."""

    __slots__ = ()


class LargeCall(Call):
    """A call with an argument of `LARGE_BYTES` or more."""

    __slots__ = ()

    def command(self) -> LargeWords:
        """See `Call.command`."""
        return LargeWords(super().command())


class FixedWords(tuple[Word, ...]):
    """A command that is sent many times, so that its form in Redis' protocol is kept.

    Attributes:
        packed: that form; ``None`` until it is sent.
    """

    packed: bytes | None = None


class FixedCall(Call):
    """A call that is made many times, see `FixedWords`."""

    __slots__ = ("_words",)

    def __init__(self, *args: Word) -> None:
        super().__init__(None, [], args)
        self._words = FixedWords(args)

    def command(self) -> FixedWords:
        """See `Call.command`."""
        return self._words


TIME: Final = FixedCall("TIME")
"""Asks a server for its time, as nearly every pipeline does that takes messages or looks at them."""


def plain(*args: Word) -> Call:
    """A command that is not a script."""
    return Call(None, [], args)
