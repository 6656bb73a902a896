"""Checkpoints: what an instance of a consumer needs to go on in another worker.

A checkpoint is signed, since loading it may run code: who can write to the broker must not be able to run any. The
signature holds for one connection, so that no other gets its state. A checkpoint has what handlers have set on the
instance and in its scope, and as whom it runs. What it may name can be limited (`checkpoint_classes`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import operator
import pickle
import queue
import threading
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.encoding import force_bytes

from workers.instances import NotCarried

from . import checkpoint_classes
from .checkpoint_classes import SETTING

Attributes = dict[str, Any]
"""Values by name; they are of any type, since applications set them."""

SERVERS_OWN = frozenset({"scope", "channel_layer", "channel_name", "channel_receive", "base_send"})
"""Attributes that a consumer gets anew with each scope."""

MOST_BYTES = 65_536
"""The size of a checkpoint, which travels with the end of each event that changes it."""

SALT = "channels.hosting.checkpoints"
_DIGEST = hashlib.sha256
_SIGNATURE_BYTES = _DIGEST().digest_size

_BOUND = (
    asyncio.Lock,
    asyncio.Event,
    asyncio.Condition,
    asyncio.Semaphore,
    asyncio.Queue,
    asyncio.Future,
    threading.Event,
    threading.Condition,
    threading.Thread,
    queue.Queue,
)
"""Types of what belongs to a process, some of which can be pickled all the same."""


_ATOMS = frozenset({str, bytes, int, float, bool, type(None)})
_BOXES = frozenset({list, tuple, dict})

_MOST_ITEMS = 32
"""Items of a list, tuple or dict up to which they are compared one by one."""


class BadCheckpoint(Exception):
    """A checkpoint that this process does not load; the text says why."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, _BOUND):
            raise NotCarried(f"{type(value).__qualname__} belongs to the process")
        return NotImplemented


class _LimitedPickler(_Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)) and not checkpoint_classes.may_be(value):
            raise NotCarried(f"{SETTING} does not list {checkpoint_classes.path_of(value)}")
        if isinstance(value, ZoneInfo):
            return ZoneInfo, (value.key,)  # of its own accord it names `getattr`, with which all can be reached
        return super().reducer_override(value)


class _LimitedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if checkpoint_classes.may_be_named(path):  # first of all: to look something up is to import its module
            found = super().find_class(module, name)
            if checkpoint_classes.may_be(found):
                return found
        raise BadCheckpoint(f"it names {path}, which {SETTING} does not list")


def is_plain(value: object) -> bool:
    """True for a value that is the same in every process."""
    return type(value) in _ATOMS


class Marks:
    """The objects that make up an instance, to see whether it has changed: as long as each is the same one, it has not.

    To look takes a fraction of the time of `pack`, and happens at the end of each event.
    """

    __slots__ = ("_contents", "_names", "_objects")

    def __init__(self, attributes: Attributes, more: Iterable[object], contents: Sequence[_Content]) -> None:
        self._names = names_of(attributes)
        self._objects = (*attributes.values(), *more)
        self._contents = contents

    @classmethod
    def of(cls, attributes: Attributes, *more: object) -> Marks | None:
        """Make them, if attributes cannot change inside, or are short lists, tuples and dicts of plain values.

        Args:
            attributes: of the instance.
            more: more objects that must stay the same ones.
        """
        contents = []
        for name, value in attributes.items():
            kind = type(value)
            if kind in _ATOMS or name in SERVERS_OWN:
                continue
            if kind not in _BOXES or len(value) > _MOST_ITEMS:
                return None
            content = _content(value)
            if not all(type(item) in _ATOMS for item in content):
                return None
            contents.append((value, content))
        return cls(attributes, more, tuple(contents))

    def hold_for(self, attributes: Attributes, *more: object) -> bool:
        """True if nothing has changed."""
        return (
            is_same((*attributes.values(), *more), self._objects)
            and tuple(attributes) == self._names
            and (not self._contents or all(is_same(_content(box), content) for box, content in self._contents))
        )


_Content: TypeAlias = tuple[Any, Sequence[object]]
"""A list, tuple or dict, and what was in it."""


def _content(box: Any) -> Sequence[object]:
    return (*box, *box.values()) if type(box) is dict else tuple(box)


def names_of(values: Attributes) -> tuple[str, ...]:
    """The keys of attributes, or of a scope: those of most connections are the same ones, and kept once."""
    return _shared(tuple(values))


@lru_cache(maxsize=256)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    return names


def is_same(values: Collection[object], others: Collection[object]) -> bool:
    """True if there are as many values, and each is the very same object."""
    return len(values) == len(others) and all(map(operator.is_, values, others))


def pack(attributes: Attributes, added: Attributes, identity: object, connection: str, last: bytes = b"") -> bytes:
    """Make a checkpoint, or return the last one if nothing has changed since.

    Args:
        attributes: of the instance.
        added: keys of the scope that handlers have set.
        identity: the class of the instance, and the key of the user as whom it runs.
        connection: its name; the checkpoint is for this one alone.
        last: the last checkpoint of the instance, which costs no signature if it still holds.

    Raises:
        NotCarried: it cannot be done; the text names the attribute.
    """
    own = {name: value for name, value in attributes.items() if name not in SERVERS_OWN}
    try:
        data = _dumps((own, added, identity))
    except Exception:
        _blame("self.", own)
        _blame("scope", added)
        raise
    if len(data) > MOST_BYTES:
        raise NotCarried(f"what it holds takes {len(data)} bytes, and {MOST_BYTES} are carried at most")
    return last if last.endswith(data) and len(last) == _SIGNATURE_BYTES + len(data) else _sign(data, connection) + data


def unpack(checkpoint: bytes, connection: str) -> tuple[Attributes, Attributes, Any]:
    """Load a checkpoint, as `pack` was given it.

    Raises:
        BadCheckpoint: it is signed with another key or for another connection, names what it may not name, or classes
            that this version of the code does not have.
    """
    signature, data = checkpoint[:_SIGNATURE_BYTES], checkpoint[_SIGNATURE_BYTES:]
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    if not any(hmac.compare_digest(signature, _sign(data, connection, key)) for key in keys):
        raise BadCheckpoint("it is signed with another SECRET_KEY, or for another connection")
    try:
        if checkpoint_classes.allowed() is None:
            own, added, identity = pickle.loads(data)
        else:
            own, added, identity = _LimitedUnpickler(io.BytesIO(data)).load()
    except BadCheckpoint:
        raise
    except Exception as error:
        raise BadCheckpoint(f"this version of the code cannot load it: {error!r}") from error
    return own, added, identity


def _dumps(value: object) -> bytes:
    buffer = io.BytesIO()
    pickler = _Pickler if checkpoint_classes.allowed() is None else _LimitedPickler
    pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _blame(prefix: str, values: Attributes) -> None:
    """Raise `NotCarried` for the first value that cannot be carried by itself."""
    for name, value in values.items():
        try:
            _dumps(value)
        except Exception as error:
            place = f"{prefix}{name}" if prefix.endswith(".") else f"{prefix}[{name!r}]"
            kind = type(value).__qualname__
            raise NotCarried(f"{place} is a {kind}, which cannot be carried to another process ({error})") from error


def _sign(data: bytes, connection: str, secret: str | bytes | None = None) -> bytes:
    key = _key(settings.SECRET_KEY if secret is None else secret)
    return hmac.digest(key, b"%b\0%b" % (connection.encode(), data), _DIGEST)


@lru_cache(maxsize=16)
def _key(secret: str | bytes) -> bytes:
    """A key for this purpose alone, as `django.utils.crypto.salted_hmac` derives it, once for each secret."""
    return _DIGEST(SALT.encode() + force_bytes(secret)).digest()
