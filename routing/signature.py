"""The check that a consumer can be called with the arguments that its route will give it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

Wrapper = TypeVar("Wrapper", bound=Callable[..., object])

_MARK = "_passes_arguments"


def passes_arguments(wrapper: Wrapper) -> Wrapper:
    """Mark a decorator's wrapper as passing its arguments on unchanged.

    The check then looks at what it wraps too. It cannot do so for wrappers in general: one that adds
    or removes arguments is legitimate.
    """
    setattr(wrapper, _MARK, True)
    return wrapper


def complaint(consumer: Callable[..., object], names: Iterable[str]) -> str | None:
    """Say why ``consumer(message, **{name: text})`` cannot work, or return ``None`` if it can."""
    arguments = dict.fromkeys(names, "")
    layer: Callable[..., object] | None = consumer
    while layer is not None:
        try:
            signature = inspect.signature(layer, follow_wrapped=False)
        except (TypeError, ValueError):  # written in C, or its signature is not a Signature
            return None
        try:
            signature.bind(None, **arguments)
        except TypeError as error:
            call = ", ".join(["message", *(f"{name}=…" for name in arguments)])
            taken = _bare(signature)
            return f"the consumer {describe(consumer)} takes {taken} and will be called with ({call}): {error}"
        layer = getattr(layer, "__wrapped__", None) if getattr(layer, _MARK, False) else None
    return None


def describe(consumer: object) -> str:
    """A consumer's dotted path, as far as it has one."""
    module, name = getattr(consumer, "__module__", None), getattr(consumer, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(consumer)


def _bare(signature: inspect.Signature) -> inspect.Signature:
    """A signature without annotations, which would make it long."""
    parameters = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
