"""Rules for channel and group names (ASGI 1 draft, "Channels" and "Groups").

A name consists of ASCII letters, digits, ``-``, ``_`` and ``.``. A channel name may hold one ``?``
(a single-reader channel) or one ``!`` (a process-specific channel: the part up to and including the
``!`` names the process that reads it, the *local part* behind it is for that process to interpret).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache

from .exceptions import InvalidName

MAX_NAME_LENGTH = 200
"""Longest allowed name in characters; the draft asks for at least 100."""


def _remembering(expression: str) -> Callable[[str], bool]:
    """A test for names. Most of them come again with each frame, and the expression costs five times as much.

    To be called with names of at most `MAX_NAME_LENGTH` alone: it keeps thousands of them.
    """
    match = re.compile(expression).match
    return lru_cache(maxsize=4_096)(lambda name: match(name) is not None)


_SEND = _remembering(r"[a-zA-Z0-9\-_.]+(?:[?!][a-zA-Z0-9\-_.]+)?\Z")
_RECEIVE = _remembering(r"[a-zA-Z0-9\-_.]+(?:!|\?[a-zA-Z0-9\-_.]+)?\Z")
_GROUP = _remembering(r"[a-zA-Z0-9\-_.]+\Z")
_PATTERN = re.compile(r"[a-zA-Z0-9\-_.]+[?!]\Z").match

_TEXT = {str}

_ALPHABET = "ASCII letters, digits, '-', '_' and '.'"


def check_channel(name: object) -> str:
    """Return ``name`` if a message can be sent to it, else raise `InvalidName`."""
    if type(name) is str and len(name) <= MAX_NAME_LENGTH and _SEND(name):
        return name
    raise _complaint("channel", name, f"use {_ALPHABET}, with at most one '?' or '!' and something behind it")


def check_receive(name: object) -> str:
    """Return ``name`` if it can be received from: process-specific names end with their ``!``.

    Raises:
        InvalidName: it cannot.
    """
    if type(name) is str and len(name) <= MAX_NAME_LENGTH and _RECEIVE(name):
        return name
    if type(name) is str and "!" in name and not name.endswith("!"):
        reason = "receive on a process-specific channel takes the name up to and including '!'"
        raise InvalidName("channel", name, reason)
    raise _complaint("channel", name, f"use {_ALPHABET}")


@lru_cache(maxsize=256)
def _check_each(names: tuple[object, ...]) -> None:
    """Check each of the names; the same lists come again and again."""
    for name in names:
        check_receive(name)


def check_receivers(names: object) -> None:
    """Check the list of names given to a receive; one name alone is a mistake that would pass as letters.

    What can be gone through only once, or has no order, is refused too: looking at it would use it up.

    Raises:
        InvalidName: it is not such a list, or one of its names cannot be received from.
    """
    if type(names) is not list and (isinstance(names, (str, bytes)) or not isinstance(names, Sequence)):
        raise InvalidName("channel", names, "receive takes a list of channel names")
    if {*map(type, names)} <= _TEXT:
        _check_each(tuple(names))
    else:  # what is no text may have no hash either
        for name in names:
            check_receive(name)


def check_group(name: object) -> str:
    """Return ``name`` if it is a valid group name, else raise `InvalidName`."""
    if type(name) is str and len(name) <= MAX_NAME_LENGTH and _GROUP(name):
        return name
    raise _complaint("group", name, f"use {_ALPHABET}")


def new_name(pattern: object) -> str:
    """Return a new channel name for a pattern that ends with ``!`` or ``?``.

    The random part has 128 bits from the operating system, so that a name cannot be guessed.

    Raises:
        InvalidName: the pattern does not end so, or has other characters than names.
    """
    if type(pattern) is not str or not _PATTERN(pattern):
        raise _complaint("channel pattern", pattern, "a pattern ends with '!' or '?', for example 'http.response!'")
    return pattern + secrets.token_urlsafe(16)


def split(channel: str) -> tuple[str, str]:
    """Split a channel name into the name its reader listens on and the local part.

    >>> split("daphne.x!abc")
    ('daphne.x!', 'abc')
    >>> split("websocket.receive")
    ('websocket.receive', '')
    """
    head, mark, local = channel.partition("!")
    return (head + mark, local) if mark else (channel, "")


def family(reader: str) -> str:
    """The name under which a channel is counted: single-reader channels up to their ``?``.

    Their random parts are used once, so that counting each would fill the memory.

    >>> family("http.request.body?abc")
    'http.request.body?'
    """
    head, mark, _ = reader.partition("?")
    return head + mark


def _complaint(kind: str, name: object, rule: str) -> InvalidName:
    if not isinstance(name, str):
        return InvalidName(kind, name, f"a name is a str, not {type(name).__name__}")
    if len(name) > MAX_NAME_LENGTH:
        return InvalidName(kind, name, f"it has {len(name)} characters, the limit is {MAX_NAME_LENGTH}")
    return InvalidName(kind, name, rule)
