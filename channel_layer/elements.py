"""Counting the elements of encoded data before it is decoded.

An element takes one byte on the wire and up to ninety in memory, so that a limit of bytes alone does not bound
the memory that decoding takes. The count goes from head to head of the msgpack format and over what lies between them,
without making objects: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from typing import Final

MAX_ELEMENTS: Final = 65_536
"""Elements in a message: numbers, texts, byte strings and the like, keys among them, and lists and dicts as such."""

_NUMBERS = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_FIXED = {0xC0: 1, 0xC2: 1, 0xC3: 1, **_NUMBERS}
_STRINGS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_BOXES = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def _size(head: int) -> int:
    """Bytes of an element that begins so, without what a list or dict holds; 0 if the head alone does not tell."""
    if 0xA0 <= head < 0xC0:  # short text
        return 1 + head - 0xA0
    return 1 if head < 0xA0 or head >= 0xE0 else _FIXED.get(head, 0)


_SIZES = [_size(head) for head in range(256)]
_WIDTHS = [_STRINGS.get(head, 0) - _BOXES.get(head, 0) for head in range(256)]
"""Bytes of the length behind a head: of a string, or with a minus of a list or dict."""


def has_more_elements(data: bytes | memoryview, limit: int) -> bool:
    """Tell whether there are more than ``limit``, or a list or dict claims to hold more.

    Takes time for each element up to the limit, about 0.1 µs, and none for the length of strings. What is not valid
    is not looked at any further: decoding it fails at the same place.
    """
    sizes, widths, end = _SIZES, _WIDTHS, len(data)
    position = claimed = 0
    for _ in range(limit):
        if position >= end:
            return False
        head = data[position]
        size = sizes[head]
        if size:
            position += size
            continue
        position += 1
        width = widths[head]
        if width > 0:
            position += width + int.from_bytes(data[position : position + width], "big")
        elif width < 0:
            claimed += int.from_bytes(data[position : position - width], "big")
            position -= width
            if claimed > limit:
                return True
        else:  # an extension, or a byte that msgpack does not use
            return False
    return position < end
