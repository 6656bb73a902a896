"""Values of an instance in the database, before and after a save."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from django.db import models, router
from django.utils.functional import cached_property

Instance: TypeAlias = Any
"""An instance of a binding's model. Any, because each binding has another model, whose methods and fields it uses."""

Key: TypeAlias = Any
"""A primary key. Any, because its type is that of a model's field."""

User: TypeAlias = Any
"""A user, who may be anonymous. Any, because AUTH_USER_MODEL says of which class users are."""

M = TypeVar("M", bound=models.Model)


def stored(instance: M) -> M | None:
    """Load the stored form of an instance; ``None`` if it is not stored.

    Attributes that the application has set besides the fields are copied to it.
    """
    model = type(instance)
    using = router.db_for_write(model, instance=instance)
    found = model._base_manager.using(using).filter(pk=instance.pk).first()
    if found is not None:
        for name, value in vars(instance).items():
            if not isinstance(getattr(model, name, None), cached_property) and not name.startswith("_prefetched"):
                vars(found).setdefault(name, value)
    return found


def with_values(instance: M) -> M:
    """Return an instance with plain values: the stored one if fields hold expressions such as ``F("count") + 1``."""
    if any(hasattr(value, "resolve_expression") for value in vars(instance).values()):
        return stored(instance) or instance
    return instance


def load_deferred(instance: models.Model) -> None:
    """Load the deferred fields while the instance still exists."""
    deferred = instance.get_deferred_fields()
    if deferred:
        instance.refresh_from_db(fields=deferred)
