"""The application that the setting ASGI_APPLICATION names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.utils.module_loading import import_string

from ..scope.applications import Application


def hosted_application(protocol: str) -> Application | None:
    """The application that takes connections of a protocol, or ``None`` if there is none or Django alone takes them.

    Args:
        protocol: ``websocket``, ``http`` or ``lifespan``.

    Raises:
        ImproperlyConfigured: ASGI_APPLICATION cannot be imported or cannot be called; one sentence.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return None
    try:
        found: Any = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"ASGI_APPLICATION is {path!r}, which cannot be imported: {error}") from error
    if not callable(found):
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION is {path!r}, a {type(found).__name__} and no ASGI application: it cannot be called"
        )
    mapping = getattr(found, "application_mapping", None)
    inner = mapping.get(protocol) if isinstance(mapping, Mapping) else found
    return None if inner is None or isinstance(inner, ASGIHandler) else cast("Application", found)
