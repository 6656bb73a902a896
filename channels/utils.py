"""Names for logs."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["name_that_thing"]


def name_that_thing(thing: Any) -> str:
    """The dotted path of a function, method or class; that of its class for any other object.

    >>> name_that_thing(name_that_thing)
    'channels.utils.name_that_thing'
    """
    if isinstance(thing, functools.partial):
        return name_that_thing(thing.func)
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"
