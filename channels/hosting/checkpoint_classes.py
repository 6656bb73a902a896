"""The setting CHANNEL_CHECKPOINT_CLASSES: classes that checkpoints may name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..runtime.cached_settings import cached_until_set

SETTING = "CHANNEL_CHECKPOINT_CLASSES"

ALWAYS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple",
        "collections": "Counter OrderedDict defaultdict deque",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "SafeUUID UUID",
        "zoneinfo": "ZoneInfo",
        "django.db.models.base": "ModelState model_unpickle",
        "django.utils.safestring": "SafeString",
    }.items()
    for name in names.split()
)
"""Plain values, and what instances of models are made of. To call any of them does no harm, whatever the arguments."""


@cached_until_set(SETTING)
def allowed() -> tuple[str, ...] | None:
    """Dotted paths of the modules and classes that checkpoints may name; ``None`` for all.

    Raises:
        ImproperlyConfigured: the setting is not a list of such paths.
    """
    paths = getattr(settings, SETTING, None)
    if paths is None:
        return None
    if not isinstance(paths, (list, tuple, set, frozenset)) or not all(isinstance(path, str) for path in paths):
        raise ImproperlyConfigured(
            f"{SETTING} must be a list of dotted paths of modules and classes, or None, not {paths!r}"
        )
    return tuple(paths)


def may_be_named(path: str) -> bool:
    """Tell if something with this dotted path may be in a checkpoint, as far as the path shows it."""
    paths = allowed()
    return paths is None or path in ALWAYS or any(path == one or path.startswith(f"{one}.") for one in paths)


def may_be(thing: Any) -> bool:
    """Tell if a class or function may be in a checkpoint.

    It is looked up by the place where it was defined: a module that may be named has imported others, which may not.
    Functions have to be listed themselves, since loading can call them.
    """
    path = path_of(thing)
    return may_be_named(path) and (isinstance(thing, type) or path in ALWAYS or path in (allowed() or (path,)))


def path_of(thing: Any) -> str:
    """The dotted path of a class or function."""
    return f"{getattr(thing, '__module__', None)}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def check_checkpoint_classes() -> list[CheckMessage]:
    """CHANNEL_CHECKPOINT_CLASSES is a list of what can be imported."""
    try:
        paths = allowed() or ()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="channels.E006")]
    return [
        Error(f"{SETTING} has {path!r}, which cannot be imported; name a module or a class", id="channels.E006")
        for path in paths
        if not _exists(path)
    ]


def _exists(path: str) -> bool:
    for find in (import_module, import_string):
        try:
            find(path)
        except (ImportError, ValueError):
            continue
        return True
    return False
