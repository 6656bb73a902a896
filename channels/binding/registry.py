"""The registry of binding classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .base import Binding


class BindingMetaclass(type):
    """Collects binding classes and registers them: at once, or as soon as the applications are ready.

    Attributes:
        binding_classes: all of them, in the order of their definition.
        register_immediately: whether the applications are ready.
    """

    register_immediately: ClassVar[bool] = False
    binding_classes: ClassVar[list[type[Binding]]] = []

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, object], **kwargs: object) -> Any:
        """Make a class and register it.

        Raises:
            ValueError: as `Binding.register`; the class is not kept then.
        """
        # Any: what this metaclass makes are bindings, which it cannot know.
        made: Any = super().__new__(mcs, name, bases, body, **kwargs)
        if bases:  # all but the first of them
            if mcs.register_immediately:
                made.register()
            mcs.binding_classes.append(made)
        return made

    @classmethod
    def register_all(mcs) -> None:
        """Register all classes so far, and from now on each new one at once.

        Raises:
            ValueError: as `Binding.register`.
        """
        for binding in mcs.binding_classes:
            binding.register()
        BindingMetaclass.register_immediately = True
