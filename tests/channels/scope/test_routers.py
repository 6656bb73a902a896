"""`channels.scope.routers`."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.urls import include, path, re_path
from django.urls.exceptions import Resolver404
from django.urls.resolvers import LocalePrefixPattern

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter, get_default_application, route
from channels.scope.routers import behind_routers

from ..coroutines import drive


class Named:
    """An application that returns its name, and keeps its last scope."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> str:
        self.scope = scope
        return self.name

    @property
    def found(self) -> Any:
        """What the routers found in the path."""
        return self.scope["url_route"]["args"], self.scope["url_route"]["kwargs"]


def ask(router: Any, where: str | None = None, **scope: Any) -> Any:
    """What the application returns that a router finds."""
    if where is not None:
        scope["path"] = where
    return asyncio.run(router({"type": "websocket", **scope}, None, None))


class TestProtocolTypeRouter:
    router = ProtocolTypeRouter({"http": Named("http"), "websocket": Named("websocket")})

    @pytest.mark.parametrize("kind", ["http", "websocket"])
    def test_the_type_decides(self, kind: str) -> None:
        assert ask(self.router, type=kind) == kind

    def test_a_type_without_an_application_is_named(self) -> None:
        with pytest.raises(ValueError, match="No application configured for scope type 'lifespan'"):
            ask(self.router, type="lifespan")

    def test_classes_are_taken_with_a_warning(self) -> None:
        with pytest.warns(DeprecationWarning, match=r"write AsyncWebsocketConsumer\.as_asgi\(\)") as caught:
            ProtocolTypeRouter({"websocket": AsyncWebsocketConsumer})
        assert caught[0].filename == __file__


class TestChannelNameRouter:
    router = ChannelNameRouter({"thumbnails": Named("thumbnails")})

    def test_the_channel_decides(self) -> None:
        assert ask(self.router, type="channel", channel="thumbnails") == "thumbnails"

    def test_a_channel_without_an_application_is_named(self) -> None:
        with pytest.raises(ValueError, match="No application configured for channel name 'mail'"):
            ask(self.router, type="channel", channel="mail")

    def test_a_scope_without_a_channel_is_refused(self) -> None:
        with pytest.raises(ValueError, match="a scope of type 'http' without a 'channel' key; put it under 'channel'"):
            ask(self.router, type="http")


class TestURLRouter:
    def test_the_first_route_that_matches_is_taken(self) -> None:
        router = URLRouter(
            [
                path("", Named("root")),
                path("chat/", Named("chat")),
                re_path(r"^chat", Named("beginning")),
                re_path(r"end/", Named("anywhere")),
            ]
        )
        assert [ask(router, where) for where in ("/", "/chat/", "/chats/", "/the/end/")] == [
            "root",
            "chat",
            "beginning",
            "anywhere",
        ]

    @pytest.mark.parametrize(
        ("entry", "where", "found"),
        [
            (lambda app: path("<str:room>/<int:page>/", app), "/kitchen/3/", ((), {"room": "kitchen", "page": 3})),
            (lambda app: path("chat/", app, kwargs={"room": "all"}), "/chat/", ((), {"room": "all"})),
            (lambda app: path("<room>/", app, kwargs={"room": "all"}), "/chat/", ((), {"room": "all"})),
            (lambda app: re_path(r"^(\d+)/(\w+)/$", app), "/3/x/", (("3", "x"), {})),
            (lambda app: re_path(r"^(?P<room>\w+)/(\d+)/$", app), "/kitchen/3/", ((), {"room": "kitchen"})),
        ],
    )
    def test_what_is_found_in_the_path_is_in_the_scope(self, entry: Any, where: str, found: Any) -> None:
        application = Named("chat")
        ask(URLRouter([entry(application)]), where)
        assert application.found == found

    def test_the_scope_that_came_in_stays_as_it_was(self) -> None:
        scope = {"type": "websocket", "path": "/chat/"}
        asyncio.run(URLRouter([path("chat/", Named("chat"))])(scope, None, None))  # type: ignore[arg-type]
        assert scope == {"type": "websocket", "path": "/chat/"}

    @pytest.mark.parametrize("where", ["/chat/kitchen/", "/", ""])
    def test_a_path_without_a_route_is_named(self, where: str) -> None:
        with pytest.raises(ValueError, match=f"No route found for path '{where.lstrip('/')}'"):
            ask(URLRouter([path("chat/", Named("chat"))]), where)

    def test_the_root_path_is_taken_off(self) -> None:
        router = URLRouter([path("chat/", Named("chat"))])
        assert ask(router, "/app/chat/", root_path="/app") == "chat"
        with pytest.raises(ValueError, match="No route found for path '/chat/'"):
            ask(router, "/chat/", root_path="/app")

    def test_a_scope_without_a_path_is_refused(self) -> None:
        with pytest.raises(ValueError, match="No 'path' key"):
            ask(URLRouter([]))

    def test_routers_nest_and_add_up_what_they_find(self) -> None:
        application = Named("page")
        inner = URLRouter([re_path(r"^page/(\d+)/$", application), path("<name>/", application)])
        router = URLRouter([re_path(r"^(\w+)/book/", inner), path("author/<author>/", inner)])
        assert ask(router, "/any/book/page/7/") == "page"
        assert application.found == (("any", "7"), {})
        assert ask(router, "/author/ada/notes/") == "page"
        assert application.found == ((), {"author": "ada", "name": "notes"})

    def test_an_inner_router_without_a_match_leaves_it_to_the_next_route(self) -> None:
        inner = URLRouter([path("no/", Named("no"))])
        router = URLRouter([path("", URLRouter([path("a/", inner), path("a/b/", Named("b"))]))])
        assert ask(router, "/a/b/") == "b"
        with pytest.raises(ValueError, match="No route found"):
            ask(router, "/a/c/")
        with pytest.raises(Resolver404):
            ask(inner, "/a/", path_remaining="a/")

    def test_middleware_around_an_inner_router_is_marked_by_hand(self) -> None:
        inner = URLRouter([path("b/", Named("b"))])

        async def middleware(scope: Any, receive: Any, send: Any) -> Any:
            return await inner(scope, receive, send)

        middleware._path_routing = True  # type: ignore[attr-defined]
        assert ask(URLRouter([path("a/", middleware)]), "/a/b/") == "b"

    def test_consumer_classes_are_taken_with_a_warning(self, no_layer: None) -> None:
        with pytest.warns(DeprecationWarning, match=r"write AsyncWebsocketConsumer\.as_asgi\(\)") as caught:
            router = URLRouter([path("chat/", AsyncWebsocketConsumer)])
        assert caught[0].filename == __file__
        events = {"type": "websocket.connect"}, {"type": "websocket.disconnect"}
        assert drive(router, *events, path="/chat/") == [{"type": "websocket.accept", "subprotocol": None}]

    def test_include_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"include\(\) is not supported in URLRouter"):
            URLRouter([path("chat/", include([path("a/", Named("a"))]))])

    @pytest.mark.parametrize("entry", ["chat/", route("websocket.connect", lambda message: None)])
    def test_something_else_is_refused(self, entry: Any) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"takes a list of path\(\) and re_path\(\), which .* is not"):
            URLRouter([entry])

    def test_a_pattern_that_has_no_open_end_is_refused(self) -> None:
        entry: Any = path("chat/", URLRouter([]))
        entry.pattern = LocalePrefixPattern()
        with pytest.raises(ValueError, match="Unsupported pattern type"):
            URLRouter([entry])


application = Named("default")


class TestDefaultApplication:
    def test_it_is_what_the_setting_names(self) -> None:
        with override_settings(ASGI_APPLICATION=f"{__name__}.application"):
            assert get_default_application() is application

    @pytest.mark.parametrize(
        ("setting", "text"),
        [
            (None, "Cannot find ASGI_APPLICATION setting: set it to a dotted path"),
            ("application", "not 'application'"),
            ("no_such.asgi.application", "Cannot import ASGI_APPLICATION module 'no_such.asgi': No module named"),
            (f"{__name__}.nothing", "Cannot find 'nothing' in ASGI_APPLICATION module tests.channels.scope"),
        ],
    )
    def test_a_setting_that_leads_nowhere_is_explained(self, setting: Any, text: str) -> None:
        with override_settings(ASGI_APPLICATION=setting), pytest.raises(ImproperlyConfigured, match=text):
            get_default_application()


CONSUMER = AsyncWebsocketConsumer.as_asgi()


class TestBehindRouters:
    def found(self, application: Any, where: str = "/a/7/") -> Any:
        return behind_routers(application, {"type": "websocket", "path": where})

    def test_a_consumer_is_found_with_the_scope_that_routers_would_give_it(self) -> None:
        routes = [path("b/", Named("other")), path("a/<int:number>/", CONSUMER)]
        found, scope = self.found(ProtocolTypeRouter({"websocket": URLRouter(routes)}))
        assert found is CONSUMER
        named = Named("same")
        ask(URLRouter([path("a/<int:number>/", named)]), "/a/7/")
        assert scope == named.scope

    def test_what_is_around_a_consumer_stays_around_it(self) -> None:
        @functools.wraps(CONSUMER)
        async def guarded(scope: Any, receive: Any, send: Any) -> str:
            return "guarded"

        router = URLRouter([path("a/<int:number>/", guarded)])
        found, scope = self.found(ProtocolTypeRouter({"websocket": router}))
        assert (found, scope["path"], "url_route" in scope) == (router, "/a/7/", False)

    def test_a_router_whose_next_route_may_be_asked_is_left_to_itself(self) -> None:
        inner = URLRouter([path("8/", Named("eight"))])
        router = URLRouter([path("a/", inner), path("a/<int:number>/", Named("outer"))])
        assert self.found(router)[0] is router
        assert ask(router, "/a/7/") == "outer"

    def test_a_router_of_a_class_of_its_own_is_asked_itself(self) -> None:
        class Own(URLRouter):
            """Somebody's, with rules of its own."""

        router = Own([path("a/<int:number>/", CONSUMER)])
        assert self.found(router)[0] is router

    def test_an_application_that_nobody_routes_to_is_left_to_say_so(self) -> None:
        router = URLRouter([path("b/", CONSUMER)])
        assert self.found(router)[0] is router
