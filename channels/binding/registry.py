"""Which bindings there are."""

from __future__ import annotations

from typing import Any, ClassVar


class BindingMetaclass(type):
    """Keeps every binding class and registers it: at once, or when the applications are ready if that is later.

    Attributes:
        binding_classes: all of them, in the order of their definition.
        register_immediately: whether the applications are ready.
    """

    register_immediately: ClassVar[bool] = False
    binding_classes: ClassVar[list[Any]] = []

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **kwargs: Any) -> Any:
        """Make a class; raises what its ``register`` raises, and then forgets the class."""
        made: Any = super().__new__(mcs, name, bases, body, **kwargs)
        if bases:  # all but the first of them
            if mcs.register_immediately:
                made.register()
            mcs.binding_classes.append(made)
        return made

    @classmethod
    def register_all(mcs) -> None:
        """Register what has been defined so far, and from now on each new class at once."""
        for binding in mcs.binding_classes:
            binding.register()
        BindingMetaclass.register_immediately = True
