"""The fields of a model that a binding covers, read and checked for writing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.core import serializers
from django.db import models

if TYPE_CHECKING:
    from django.contrib.contenttypes.fields import GenericForeignKey
    from django.db.models.fields.reverse_related import ForeignObjectRel

    Field = models.Field[object, object] | ForeignObjectRel | GenericForeignKey

ALL = "__all__"


def covers_all(fields: Sequence[str] | None) -> bool:
    """Tell if ``fields`` stands for every field."""
    return fields is not None and (fields == ALL or list(fields) == [ALL])


def covers(fields: Sequence[str] | None, exclude: Sequence[str] | None, field: Field) -> bool:
    """Tell if a field is covered, under its own name or that of its column (``owner`` and ``owner_id``)."""
    if covers_all(fields):
        return True
    names = {field.name, getattr(field, "attname", field.name)}
    if fields is not None:
        return not names.isdisjoint(fields)
    return names.isdisjoint(exclude or ())


def read(instance: models.Model, fields: Sequence[str] | None, exclude: Sequence[str] | None) -> dict[str, object]:
    """Read the covered fields of an instance by name, as Django's JSON serializer writes them.

    Fields that a model inherits from a model with a table of its own are included.
    """
    names: list[str] | None = None
    if fields is None:
        names = [field.name for field in instance._meta.get_fields() if field.name not in (exclude or ())]
    elif not covers_all(fields):
        names = list(fields)
    values: dict[str, object] = {}
    for part in (*_inherited(instance), instance):
        values.update(json.loads(serializers.serialize("json", [part], fields=names))[0]["fields"])
    return values


def writable(
    model: type[models.Model],
    data: Mapping[str, object],
    fields: Sequence[str] | None,
    exclude: Sequence[str] | None,
    creating: bool,
) -> dict[str, object]:
    """Select the data that may be written: covered fields, without a primary key that would change the instance.

    Permission was asked for one primary key, so an update cannot set it. A new instance may have one, unless
    its model inherits from a model with a table.

    Raises:
        FieldDoesNotExist: the data names something that is not a field.
    """
    allowed: dict[str, object] = {}
    for name, value in data.items():
        field = model._meta.get_field(name)
        may_be_key = creating and not model._meta.parents
        if covers(fields, exclude, field) and (may_be_key or not getattr(field, "primary_key", False)):
            allowed[name] = value
    return allowed


def _inherited(instance: models.Model) -> list[models.Model]:
    """Make an instance of each model with a table that it inherits from, with its current values."""
    parts = []
    for model in instance._meta.concrete_model._meta.get_parent_list():  # type: ignore[union-attr]  # it has one
        names = [field.attname for field in model._meta.concrete_fields]
        parts.append(model.from_db(instance._state.db, names, [getattr(instance, name) for name in names]))
    return parts
