"""The layers that the settings configure, with their routings: what Channels 1 had in ``channels.asgi``."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from channel_layer.layer import ChannelLayer
from channel_layer.messages import DISCONNECT, RESUME
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channel_layer.registry import channel_layers as registry
from routing import Router
from routing.routes import Consumer, Route, Routing
from workers.lifespan import Lifespan

from .backends import (
    REDIS,
    ForeignChannelLayerError,
    InvalidChannelLayerError,
    UnknownChannelLayerError,
    conforming,
    is_foreign,
    make_layer,
)
from .coroutine_layer import CoroutineChannelLayer

__all__ = [
    "DEFAULT_CHANNEL_LAYER",
    "ChannelLayerManager",
    "ChannelLayerWrapper",
    "InvalidChannelLayerError",
    "channel_layers",
    "get_channel_layer",
]

if TYPE_CHECKING:
    # It has every attribute of the layer that it wraps, see `ChannelLayerWrapper.__getattr__`.
    _Wrapped = ChannelLayer
else:
    _Wrapped = object


class ChannelLayerWrapper(_Wrapped):
    """A layer with its place in the settings; whatever else is asked of it, it asks the layer.

    Attributes:
        alias: its name in CHANNEL_LAYERS.
        channel_layer: the layer itself.
        routing: what ROUTING says; ``None`` if there is none, for an application of Channels 2 to 4 alone.
        coroutine_layer: the same layer with the coroutines of Channels 4.
    """

    def __init__(
        self,
        channel_layer: ChannelLayer,
        alias: str,
        routing: Routing | None,
        coroutine_layer: CoroutineChannelLayer | None = None,
    ) -> None:
        self.channel_layer = channel_layer
        self.coroutine_layer = coroutine_layer or CoroutineChannelLayer(channel_layer)
        self.alias = alias
        self.routing = routing
        self._router: Router | None = None
        self._lifespan: Lifespan | None = None
        self._lock = threading.Lock()

    @property
    def router(self) -> Router:
        """The compiled routing with Django's views behind it. Built on first use; raises `RoutingError`."""
        with self._lock:
            if self._router is None:
                self._router = self._build_router(None)
            return self._router

    @property
    def lifespan(self) -> Lifespan | None:
        """The one of the application behind the router; ``None`` if none would hear of it."""
        assert self.router is not None  # it is made with it
        return self._lifespan

    def serve_http_with(self, http_consumer: Consumer | None) -> Router:
        """Build the router anew with another consumer than Django's views for requests without a route."""
        with self._lock:
            self._router = self._build_router(http_consumer)
            return self._router

    def own_router(self) -> Router:
        """A router with the routes of the project alone; raises `RoutingError`."""
        return Router(() if self.routing is None else self.routing)

    def _build_router(self, http_consumer: Consumer | None) -> Router:
        # Imported here: the handler loads Django's middleware, which wants the apps to be ready.
        from .handler import ViewConsumer
        from .hosting.application import hosted_application
        from .hosting.background import BackgroundConsumer, background_channels
        from .hosting.consumer import HostConsumer
        from .hosting.http import HttpHost
        from .runtime.unrouted import RefuseUnrouted

        router = self.own_router()
        connect_consumer: Any = RefuseUnrouted(self.own_router()) if settings.DEBUG else None
        living = hosted_application("lifespan")
        self._lifespan = Lifespan(living) if living is not None else None
        state = self._lifespan.state if self._lifespan is not None else {}
        application = hosted_application("websocket")
        if application is not None:
            host = HostConsumer(application, self.own_router(), state)
            connect_consumer = host.connect
            router.add_route(Route(RESUME, host.resume))
            router.add_route(Route(DISCONNECT, host.disconnect))
        beside_django = hosted_application("http")
        if beside_django is not None:
            http_consumer = HttpHost(beside_django, state)
        behind_channels = hosted_application("channel")
        if behind_channels is not None:
            for channel in background_channels(behind_channels) or ():
                router.add_route(Route(channel, BackgroundConsumer(behind_channels, channel)))
        router.check_default(http_consumer if http_consumer is not None else ViewConsumer(), connect_consumer)
        return router

    @property
    def local_only(self) -> bool:  # type: ignore[override]  # nobody sets it
        """True if the layer reaches no further than this process."""
        return bool(getattr(self.channel_layer, "local_only", False))

    if not TYPE_CHECKING:  # checkers know what a layer has

        def __getattr__(self, name: str) -> object:
            """An attribute of the layer."""
            if name == "channel_layer":  # before __init__, as copy and pickle ask
                raise AttributeError(name)
            value = getattr(self.channel_layer, name)
            if inspect.ismethod(value):
                self.__dict__[name] = value  # found without this detour from now on
            return value

    def __repr__(self) -> str:
        return f"<ChannelLayerWrapper {self.alias}: {self.channel_layer!r}>"


class ChannelLayerManager:
    """Alias → wrapped layer, made from the settings on first use. Thread-safe."""

    def __init__(self) -> None:
        registry.factory = self.make_backend

    @property
    def configs(self) -> Mapping[str, Any]:
        """The setting CHANNEL_LAYERS; empty if there is none.

        Raises:
            InvalidChannelLayerError: it is not a mapping.
        """
        configs = getattr(settings, "CHANNEL_LAYERS", None) or {}
        if not isinstance(configs, Mapping):
            raise InvalidChannelLayerError(None, f"CHANNEL_LAYERS is a dict of aliases, not {type(configs).__name__}")
        return configs

    def make_backend(self, alias: str) -> ChannelLayerWrapper:
        """Make the layer of an alias anew; raises `InvalidChannelLayerError`."""
        return self._make(alias, "CONFIG")

    def make_test_backend(self, alias: str) -> ChannelLayerWrapper:
        """Make the layer of an alias with TEST_CONFIG in place of CONFIG."""
        self.require_test_config(alias)
        return self._make(alias, "TEST_CONFIG")

    def require_test_config(self, alias: str) -> None:
        """Raise `InvalidChannelLayerError` if the entry of an alias has no TEST_CONFIG."""
        if "TEST_CONFIG" not in self.config(alias):
            raise InvalidChannelLayerError(alias, "TEST_CONFIG is missing")

    def __getitem__(self, alias: str) -> Any:
        # Any: a ChannelLayerWrapper, or a layer that a test has put in its place.
        return registry[alias]

    def __contains__(self, alias: object) -> bool:
        return alias in self.configs or (isinstance(alias, str) and alias in registry)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.configs, *registry]))

    def set(self, alias: str, layer: ChannelLayer | None) -> ChannelLayer | None:
        """Put a layer under an alias (``None`` removes it) and return what was there before."""
        return registry.set(alias, layer)

    def _make(self, alias: str, options: str) -> ChannelLayerWrapper:
        config = self.config(alias)
        if is_foreign(alias, config):
            raise ForeignChannelLayerError(
                alias,
                f"BACKEND {config['BACKEND']!r} is a layer for Channels 2 to 4: get_channel_layer() returns it, and it "
                f"cannot carry connections between daphne and workers; use {REDIS!r} for that",
            )
        made = make_layer(alias, config, config.get(options))
        routing = None if config.get("ROUTING") == "" else config.get("ROUTING")
        if isinstance(made, CoroutineChannelLayer):
            return ChannelLayerWrapper(made.channel_layer, alias, routing, made)  # type: ignore[abstract]
        return ChannelLayerWrapper(conforming(alias, made, config.get(options)), alias, routing)  # type: ignore[abstract]

    def config(self, alias: str) -> Mapping[str, Any]:
        """Entry of CHANNEL_LAYERS; raises `InvalidChannelLayerError`."""
        configs = self.configs
        if not configs:
            raise UnknownChannelLayerError(
                None, f"there is no channel layer {alias!r}: the settings have no CHANNEL_LAYERS"
            )
        if alias not in configs:
            known = ", ".join(repr(name) for name in configs)
            raise UnknownChannelLayerError(None, f"there is no channel layer {alias!r}; CHANNEL_LAYERS has {known}")
        config = configs[alias]
        if not isinstance(config, Mapping):
            raise InvalidChannelLayerError(alias, f"the entry is a dict with BACKEND, not {type(config).__name__}")
        return config


def require_work(alias: str, routing: object) -> None:
    """Raise `InvalidChannelLayerError` if neither ROUTING nor ASGI_APPLICATION says what workers are to run."""
    if routing in (None, "") and not getattr(settings, "ASGI_APPLICATION", None):
        raise InvalidChannelLayerError(
            alias,
            "workers have nothing to run; set ROUTING to the dotted path of a list of routes or to the list itself, "
            "or the setting ASGI_APPLICATION to the dotted path of an application for Channels 2 to 4",
        )


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> ChannelLayer:
    """Set Django up and return the layer of an alias, for a project's ``asgi.py``.

    Raises:
        InvalidChannelLayerError: the settings cannot be loaded or the alias cannot work; one sentence.
    """
    _set_up(django.setup)
    if not (apps.is_installed("channels") or apps.is_installed("daphne")):
        raise InvalidChannelLayerError(
            None, "'channels' is missing from INSTALLED_APPS; add it, for manage.py runworker and the system checks"
        )
    wrapper: ChannelLayerWrapper = channel_layers[alias]
    return wrapper.channel_layer


def _set_up(setup: Callable[[], None]) -> None:
    try:
        setup()
    except ImproperlyConfigured as error:
        if settings.configured or "DJANGO_SETTINGS_MODULE" not in str(error):
            raise InvalidChannelLayerError(None, f"Django cannot be set up: {error}") from error
        raise InvalidChannelLayerError(
            None,
            "DJANGO_SETTINGS_MODULE is not set; call os.environ.setdefault('DJANGO_SETTINGS_MODULE', "
            "'project.settings') in asgi.py before get_channel_layer()",
        ) from error
    except ModuleNotFoundError as error:
        raise InvalidChannelLayerError(None, f"Django cannot be set up: {error}") from error


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "CHANNEL_LAYERS":
        for alias in list(registry):
            registry.set(alias, None)


channel_layers = ChannelLayerManager()
"""The process-wide manager; `channel_layer.registry.channel_layers` asks it."""

setting_changed.connect(_forget, dispatch_uid="channels.configured_layers")
