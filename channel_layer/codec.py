"""Messages to bytes and back: the form in which every layer of this project carries them.

A *body* is one message in msgpack. A *frame* is what lies on a channel: an array of four whose
third element is the body, so that a body is encoded once, when the sender hands it over, and copied
into any number of frames::

    [DIRECT, local part, message, headers or nil]     for one channel
    [GROUP,  group,      message, headers or nil]     for the members of a group in one process
    [JOIN,   group,      local part, seconds]         tells the process of a new member
    [LEAVE,  group,      local part, nil]             and of one that left

Frames come from a broker that other programs can write to, so decoding trusts nothing: extension
types, keys that are not text, nesting beyond `MAX_DEPTH`, too many elements and lengths the data does not
hold are refused with `InvalidFrame`. Types are those of the ASGI 1 draft ("Channels"): byte strings, text, 64-bit
integers, floats, lists (tuples arrive as lists), dicts with text keys, booleans, ``None``.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from .delivery import Body, Content, LargeBody
from .elements import MAX_ELEMENTS, has_more_elements
from .exceptions import InvalidMessage

DIRECT: Final = 0
GROUP: Final = 1
JOIN: Final = 2
LEAVE: Final = 3

_MESSAGES: Final = (DIRECT, GROUP)
_MEMBERSHIPS: Final = (JOIN, LEAVE)

MAX_DEPTH: Final = 64
"""Levels of nesting a message may have."""

_MOST_IN_A_FRAME = MAX_ELEMENTS + 4_096
"""Elements of a frame: those of its message, and room for address and headers, a state of many keys among them."""

_UNCOUNTED_ARRAY = 1_024
"""Elements an array may claim before anybody counts. msgpack reserves what is claimed, 8 bytes each, and does so
for up to 511 arrays inside each other."""

LARGE: Final = 65_536
"""Length of a string, bytes or text, from which on it is not copied into the encoded message."""

_MAP = 0x80
_LONGEST_MAP = 15
"""The type of a map with so few entries at most, in the same byte as their number (msgpack's "fixmap")."""

_BYTES = b"\xc6"
_TEXT = b"\xdb"
"""The types of byte strings and texts whose length has four bytes (msgpack's "bin 32" and "str 32")."""

_NIL = msgpack.packb(None)
_HEADS = [b"\x94%c" % kind for kind in range(4)]
"""The beginnings of frames: an array of four, and its first element, the kind."""
_BOXES = frozenset({dict, list})
_SCALARS = frozenset({str, bytes, int, float, bool, type(None)})


class _Packers(threading.local):
    """One for each thread. A new one for each value costs more than packing it: its buffer has 256 KiB."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


_packers = _Packers()


class InvalidFrame(ValueError):
    """Bytes on a channel that are not a frame of ours."""


def pack_body(message: Content, target: str | None = None) -> bytes:
    """Encode one message; raises `InvalidMessage` that names the offending value."""
    return bytes(pack_pieces(message, target))


def pack_pieces(message: Content, target: str | None = None) -> Body:
    """Encode one message as `pack_body` does, and leave a large string where it is."""
    if not isinstance(message, dict):
        raise InvalidMessage(target, f"a message is a dict, not {type(message).__name__}")
    large = None
    for key, value in message.items():
        if type(key) is not str:
            raise InvalidMessage(target, f"key {key!r} is {type(key).__name__}; keys are text")
        kind = type(value)
        if kind is bytes or kind is str:
            if len(value) >= LARGE:
                large = key
        elif kind not in _SCALARS:
            _check(value, target, key, 1)
    try:
        if large is not None and len(message) <= _LONGEST_MAP:
            return _pack_large({**message}, large)
        return _packers.pack(message)  # type: ignore[no-any-return]
    except (TypeError, ValueError, OverflowError) as error:
        _locate(message, target, "")
        raise InvalidMessage(target, str(error)) from error


def _pack_large(message: dict[str, Any], large: str) -> LargeBody:
    """Encode a short message with a large string as a map in which that comes last."""
    data, kind = message.pop(large), _BYTES
    if type(data) is str:
        data, kind = data.encode(), _TEXT
    pack = _packers.pack
    first = b"%c%b" % (_MAP | len(message) + 1, pack(message)[1:])
    return LargeBody(b"".join((first, pack(large), kind, len(data).to_bytes(4))), data)


def unpack_body(body: Body) -> dict[str, Any]:
    """Decode what `pack_body` or `pack_pieces` made, and others may have kept for us; raises `InvalidFrame`."""
    value = _unpack_bounded(bytes(body))
    if type(value) is not dict:
        raise InvalidFrame("the message is not a dict")
    _check_content(value)
    return value


EMPTY: Final = pack_body({})
"""The body of a message that consists of headers."""


def frame(kind: int, address: str, body: Body, headers: Content | None = None) -> bytes:
    """Put an encoded body into a frame."""
    if type(body) is LargeBody:
        return b"".join(frame_pieces(kind, address, body, headers))
    pack = _packers.pack
    return b"".join((_HEADS[kind], pack(address), body, _NIL if headers is None else pack(headers)))


def frame_pieces(kind: int, address: str, body: Body, headers: Content | None = None) -> tuple[bytes, bytes, bytes]:
    """The same frame in pieces, the second of which is what is large of the body: it is copied when it is written."""
    pack = _packers.pack
    head, tail = _HEADS[kind] + pack(address), _NIL if headers is None else pack(headers)
    if type(body) is LargeBody:
        return head + body.head, body.data, tail
    return head, body, tail


def readdressed(data: bytes) -> bytes:
    """The frame of a message to a group as one for an ordinary channel that is in it; raises `InvalidFrame`."""
    address: str = unpack_frame(data, len(data))[1]
    head: bytes = _HEADS[DIRECT] + _packers.pack("")
    return head + data[2 + len(_packers.pack(address)) :]


def membership_frame(kind: int, group: str, local: str, seconds: int | None) -> bytes:
    """A `JOIN` or `LEAVE` frame."""
    return _packers.pack((kind, group, local, seconds))  # type: ignore[no-any-return]


def is_membership(data: bytes | memoryview) -> bool:
    """True for a `JOIN` or `LEAVE` frame; `unpack_frame` finds out what is wrong with one."""
    return data[1:2] in (b"\x02", b"\x03")


def unpack_frame(data: bytes | memoryview, max_size: int) -> list[Any]:
    """Decode a frame into ``[kind, address, content, headers]``; raises `InvalidFrame`."""
    if len(data) > max_size:
        raise InvalidFrame(f"{len(data)} bytes, the limit is {max_size}")
    if len(data) > MAX_ELEMENTS:
        value = _unpack_counted(data)
    else:
        try:
            value = _unpack(data, _UNCOUNTED_ARRAY)
        except Exception:  # it is not a frame, or has a longer array
            value = _unpack_counted(data)
    if type(value) is not list or len(value) != 4:
        raise InvalidFrame("not an array of four")
    kind, address, content, headers = value
    if type(address) is not str:
        raise InvalidFrame("the address is not text")
    if kind in _MESSAGES:
        if type(content) is not dict or not (headers is None or type(headers) is dict):
            raise InvalidFrame("message or headers are not dicts")
        _check_content(content)
    elif kind in _MEMBERSHIPS:
        if type(content) is not str:
            raise InvalidFrame("the member is not text")
    else:
        raise InvalidFrame(f"unknown kind {kind!r}")
    return value


def _unpack_bounded(data: bytes) -> Any:
    """Decode what may have too many elements; what has fewer bytes than that has not. `unpack_frame` has it inline."""
    if len(data) <= MAX_ELEMENTS:
        with contextlib.suppress(Exception):  # it is not msgpack, or has a longer array
            return _unpack(data, _UNCOUNTED_ARRAY)
    return _unpack_counted(data)


def _unpack_counted(data: bytes | memoryview) -> Any:
    if has_more_elements(data, _MOST_IN_A_FRAME):
        raise InvalidFrame(f"more elements than the {MAX_ELEMENTS} a message may have")
    try:
        return _unpack(data, len(data))
    except InvalidFrame:
        raise
    except Exception as error:  # msgpack raises half a dozen types, RecursionError-like ones among them
        raise InvalidFrame(f"not msgpack as we write it: {error}") from error


def _check_content(content: dict[Any, Any]) -> None:
    """Hold received content to what `_check` lets through, level by level and without recursion."""
    level: list[Any] = [content]
    depth = 0
    while level:
        if depth > MAX_DEPTH:
            raise InvalidFrame(f"nested deeper than {MAX_DEPTH} levels")
        depth += 1
        inner = []
        for box in level:
            if type(box) is dict:
                for key, item in box.items():
                    if type(key) is not str:
                        raise InvalidFrame("a key is not text")
                    if type(item) in _BOXES and item:
                        inner.append(item)
            else:
                for item in box:
                    if type(item) in _BOXES and item:
                        inner.append(item)
        level = inner


def _refuse_ext(code: int, data: bytes) -> Any:
    raise InvalidFrame(f"extension type {code}")


def _unpack(data: bytes | memoryview, longest_array: int) -> Any:
    # max_ext_len=0 refuses timestamps too, which never reach ext_hook.
    return msgpack.unpackb(
        data, raw=False, strict_map_key=True, max_ext_len=0, ext_hook=_refuse_ext, max_array_len=longest_array
    )


def _check(value: Any, target: str | None, path: str, depth: int) -> None:
    """Refuse what msgpack would take and a reader could not: keys that are not text, endless depth."""
    if depth > MAX_DEPTH:
        raise InvalidMessage(target, f"{path!r} is nested deeper than {MAX_DEPTH} levels")
    if type(value) is list or (isinstance(value, (list, tuple)) and not isinstance(value, msgpack.ExtType)):
        inner = ""
        for item in value:
            kind = type(item)
            if kind in _SCALARS:
                continue
            if depth < MAX_DEPTH and (kind is tuple or kind is list):
                # HTTP headers are pairs, each of which would cost a call.
                for part in item:
                    if type(part) not in _SCALARS:
                        break
                else:
                    continue
            inner = inner or f"{path}[]"
            _check(item, target, inner, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidMessage(target, f"key {key!r} in {path!r} is {type(key).__name__}; keys are text")
            if type(item) not in _SCALARS:
                _check(item, target, f"{path}.{key}", depth + 1)
    elif isinstance(value, (msgpack.ExtType, msgpack.Timestamp)):
        raise InvalidMessage(target, f"{path!r} is msgpack.{type(value).__name__}, which readers refuse")


def _locate(value: Any, target: str | None, path: str) -> None:
    """Find the value msgpack could not encode and say where it is."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}.{key}" if path else str(key)
            _locate(key, target, here)
            _locate(item, target, here)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _locate(item, target, f"{path}[{index}]")
    else:
        try:
            _packers.pack(value)
        except OverflowError:
            raise InvalidMessage(target, f"{path!r} is an integer of more than 64 bits") from None
        except UnicodeEncodeError as error:
            raise InvalidMessage(target, f"{path!r} is text that is not valid Unicode ({error.reason})") from None
        except (TypeError, ValueError):
            raise InvalidMessage(
                target,
                f"{path!r} is {type(value).__module__}.{type(value).__qualname__}, which a channel layer "
                "does not carry. Convert it to text, bytes, numbers, lists or dicts first.",
            ) from None
