"""The application that the setting ASGI_APPLICATION names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.utils.module_loading import import_string

from ..scope.applications import Application, NotAnApplication, single_callable, takes_events


def hosted_application(protocol: str) -> Application | None:
    """The application that takes connections of a protocol, or ``None`` if there is none or Django alone takes them.

    Args:
        protocol: ``websocket``, ``http`` or ``lifespan``.

    Raises:
        ImproperlyConfigured: ASGI_APPLICATION cannot be imported or is not an application; one sentence.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return None
    if not isinstance(path, str):
        raise ImproperlyConfigured(f"ASGI_APPLICATION is the dotted path of an application, not {path!r}")
    try:
        found: Any = import_string(path)
    except (ImportError, ImproperlyConfigured, NotAnApplication) as error:
        raise ImproperlyConfigured(f"ASGI_APPLICATION is {path!r}, which cannot be imported: {error}") from error
    if not callable(found):
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION is {path!r}, a {type(found).__name__} and no ASGI application: it cannot be called"
        )
    mapping = getattr(found, "application_mapping", None)
    if not isinstance(mapping, Mapping):
        found = single_callable(found)
        if not takes_events(found):
            raise ImproperlyConfigured(
                f"ASGI_APPLICATION is {path!r}, which cannot be called with (scope, receive, send) as an ASGI "
                "application is; a WSGI application belongs into WSGI_APPLICATION"
            )
    inner = mapping.get(protocol) if isinstance(mapping, Mapping) else found
    return None if inner is None or isinstance(inner, ASGIHandler) else cast("Application", found)
