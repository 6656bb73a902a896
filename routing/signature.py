"""Whether a consumer can be called with what its route will give it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Wrapper = TypeVar("Wrapper", bound=Callable[..., Any])

_MARK = "_passes_arguments"


def passes_arguments(wrapper: Wrapper) -> Wrapper:
    """Mark a decorator's wrapper as passing its arguments on unchanged.

    The check then looks at what it wraps too. It cannot do so for wrappers in general: one that adds
    or removes arguments is legitimate.
    """
    setattr(wrapper, _MARK, True)
    return wrapper


def complaint(consumer: Callable[..., Any], names: Iterable[str]) -> str | None:
    """Say why ``consumer(message, **{name: text})`` cannot work, or return ``None`` if it can."""
    arguments = dict.fromkeys(names, "")
    layer: Any = consumer
    while layer is not None:
        try:
            signature = inspect.signature(layer, follow_wrapped=False)
        except (TypeError, ValueError):  # written in C, or its signature is no Signature
            return None
        try:
            signature.bind(None, **arguments)
        except TypeError as error:
            call = ", ".join(["message", *(f"{name}=…" for name in arguments)])
            return f"the consumer {describe(consumer)} takes {signature} and will be called with ({call}): {error}"
        layer = getattr(layer, "__wrapped__", None) if getattr(layer, _MARK, False) else None
    return None


def describe(consumer: Any) -> str:
    """A consumer's dotted path, as far as it has one."""
    name = getattr(consumer, "__qualname__", None)
    return f"{consumer.__module__}.{name}" if name else repr(consumer)
