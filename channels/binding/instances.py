"""What a model's instance was in the database before a save, and what it is there now."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.utils.functional import cached_property


def stored(instance: Any) -> Any | None:
    """The instance as the database has it, with a query; ``None`` if it has none.

    What the application put on the given instance besides its fields is on the returned one too.
    """
    model = type(instance)
    using = router.db_for_write(model, instance=instance)
    found = model._base_manager.using(using).filter(pk=instance.pk).first()
    if found is not None:
        for name, value in vars(instance).items():
            if not isinstance(getattr(model, name, None), cached_property) and not name.startswith("_prefetched"):
                vars(found).setdefault(name, value)
    return found


def with_values(instance: Any) -> Any:
    """An instance whose fields can be read: another one if some hold expressions such as ``F("count") + 1``."""
    if any(hasattr(value, "resolve_expression") for value in vars(instance).values()):
        return stored(instance) or instance
    return instance


def load_deferred(instance: Any) -> None:
    """Load the fields that are not loaded, as long as they can be."""
    deferred = instance.get_deferred_fields()
    if deferred:
        instance.refresh_from_db(fields=deferred)
