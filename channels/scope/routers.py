"""Routers from a scope to an application: by protocol, by path, by channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls.exceptions import Resolver404
from django.urls.resolvers import URLResolver

from channels.runtime.django_internals import open_ended

from .applications import Application, Receive, Scope, Send, is_consumer, single_callable


def get_default_application() -> Any:
    """Import what the setting ASGI_APPLICATION names.

    Raises:
        ImproperlyConfigured: there is no such setting, or nothing where it points.
    """
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not isinstance(path, str) or "." not in path:
        raise ImproperlyConfigured(
            "Cannot find ASGI_APPLICATION setting: set it to a dotted path, for example "
            f"'project.asgi.application', not {path!r}"
        )
    module_path, _, name = path.rpartition(".")
    try:
        module = import_module(module_path)
    except ImportError as error:
        raise ImproperlyConfigured(f"Cannot import ASGI_APPLICATION module {module_path!r}: {error}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ImproperlyConfigured(f"Cannot find {name!r} in ASGI_APPLICATION module {module_path}") from None


class ProtocolTypeRouter:
    """An application that hands over to another one by the type of the scope.

    Args:
        application_mapping: type (``"http"``, ``"websocket"``, ``"channel"``, ``"lifespan"``) → application.
    """

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        self.application_mapping = _single_callables(application_mapping)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the application for the scope; raises `ValueError` if there is none."""
        return await self._choose(scope)(scope, receive, send)

    def _choose(self, scope: Scope) -> Application:
        application = self.application_mapping.get(scope["type"])
        if application is None:
            raise ValueError(f"No application configured for scope type {scope['type']!r}")
        return application


class ChannelNameRouter:
    """An application that hands over to another one by the channel that a message was sent to.

    Args:
        application_mapping: name of a channel → application.
    """

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        self.application_mapping = _single_callables(application_mapping)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the application for the channel; raises `ValueError` if there is none."""
        if "channel" not in scope:
            raise ValueError(
                f"ChannelNameRouter got a scope of type {scope.get('type')!r} without a 'channel' key; "
                "put it under 'channel' in the ProtocolTypeRouter"
            )
        application = self.application_mapping.get(scope["channel"])
        if application is None:
            raise ValueError(f"No application configured for channel name {scope['channel']!r}")
        return await application(scope, receive, send)


class URLRouter:
    """An application that hands over to another one by path, with Django's patterns.

    The arguments found in the path are in ``scope["url_route"]``, as ``{"args": (…), "kwargs": {…}}``. Routers nest:
    an inner one sees what is left of the path, and adds to the arguments.

    Args:
        routes: ``path()`` and ``re_path()`` with applications in place of views.

    Raises:
        ImproperlyConfigured: among the routes is an ``include()``, or something else.
    """

    _path_routing = True
    """An attribute by which a router knows that what is behind one of its routes goes on with the rest of the path."""

    def __init__(self, routes: Iterable[Any]) -> None:
        self.routes = list(routes)
        for route in self.routes:
            if isinstance(route, URLResolver):
                raise ImproperlyConfigured(
                    f"{route}: include() is not supported in URLRouter. Use nested URLRouter instances instead."
                )
            if not hasattr(route, "pattern") or not callable(getattr(route, "callback", None)):
                raise ImproperlyConfigured(f"URLRouter takes a list of path() and re_path(), which {route!r} is not")
            route.callback = single_callable(route.callback)
            if getattr(route.callback, "_path_routing", False):
                route.pattern = open_ended(route.pattern)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> object:
        """Run the application of the first route that matches.

        Raises:
            ValueError: no route matches, or the scope has no path.
            Resolver404: no route of an inner router matches; the outer one tries its next.
        """
        nested = "path_remaining" in scope
        path = _path_of(scope)
        for route in self.routes:
            inner = _matched(route, path, scope)
            if inner is None:
                continue
            try:
                return await route.callback(inner, receive, send)
            except Resolver404:
                continue
        raise (Resolver404 if nested else ValueError)(_no_route(path))

    def _first(self, scope: Scope) -> tuple[Application, Scope] | None:
        """The application of the first route that matches, with its scope."""
        path = _path_of(scope)
        found = ((route.callback, _matched(route, path, scope)) for route in self.routes)
        return next(((callback, inner) for callback, inner in found if inner is not None), None)


def _matched(route: Any, path: str, scope: Scope) -> Scope | None:
    """The scope for the application of a route; ``None`` if it does not match."""
    match = route.pattern.match(path)
    if not match:
        return None
    remaining, args, kwargs = match
    outer = scope.get("url_route") or {}
    arguments = {
        "args": (*outer.get("args", ()), *args),
        "kwargs": {**outer.get("kwargs", {}), **kwargs, **route.default_args},
    }
    return dict(scope, path_remaining=remaining, url_route=arguments)


def behind_routers(application: Application, scope: Scope) -> tuple[Application, Scope]:
    """The application that routers lead to, with its scope, as far as no other could come to be asked.

    Called in place of the routers, it does without a coroutine for each of them, which takes memory for as long as
    a connection lasts.
    """
    if type(application) is ProtocolTypeRouter:
        application = application._choose(scope)
    if type(application) is URLRouter:
        found = application._first(scope)
        if found is not None and is_consumer(found[0]):
            return found
    return application, scope


def _path_of(scope: Scope) -> str:
    """The part of the path that is left to be matched, without the slash that it begins with."""
    path: str | None = scope.get("path_remaining", scope.get("path"))
    if path is None:
        raise ValueError("No 'path' key in connection scope, cannot route URLs")
    if "path_remaining" not in scope:
        root = scope.get("root_path") or ""
        if not path.startswith(root):
            raise ValueError(_no_route(path))
        path = path[len(root) :]
    return path.lstrip("/")


def _no_route(path: str) -> str:
    return f"No route found for path {path!r}."


def _single_callables(mapping: Mapping[str, Any]) -> dict[str, Application]:
    found: dict[str, Application] = {}
    for key, application in mapping.items():  # a comprehension is a frame of its own in Python 3.11 and none in 3.12
        found[key] = single_callable(application, stacklevel=4)
    return found
