"""`channels.scope.applications`: from what Channels 2 took to an ASGI 3 application."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import pytest

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.middleware import BaseMiddleware
from channels.scope.applications import single_callable

from ..coroutines import drive

CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1000}
ACCEPT = {"type": "websocket.accept", "subprotocol": None}


async def coroutine(scope: Any, receive: Any, send: Any) -> None: ...


def plain(scope: Any, receive: Any, send: Any) -> Any:
    return coroutine(scope, receive, send)


class Instance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Endpoint:
    """Made for a request, and awaited, as those of Starlette."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any:
        yield


class WithArgument(AsyncWebsocketConsumer):
    def __init__(self, room: Any) -> None: ...


SINGLE = [
    coroutine,
    plain,
    Instance(),
    Endpoint,
    functools.partial(coroutine),
    AsyncWebsocketConsumer(),
    AsyncWebsocketConsumer.as_asgi(),
    WithArgument.as_asgi(room=1),
    max,  # of C, and it does not tell what it takes
]


@pytest.mark.parametrize("application", SINGLE)
def test_an_asgi_3_application_stays_what_it_is(application: Any) -> None:
    assert single_callable(application) is application


def test_a_consumer_class_works_and_the_warning_points_at_the_caller(no_layer: None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        application = single_callable(AsyncWebsocketConsumer, stacklevel=2)
    assert [str(one.message) for one in caught] == [
        "AsyncWebsocketConsumer is passed without .as_asgi(), as in Channels 2; write AsyncWebsocketConsumer.as_asgi()"
    ]
    assert (caught[0].category, caught[0].filename) == (DeprecationWarning, __file__)
    assert drive(application, CONNECT, DISCONNECT) == [ACCEPT]


class Double:
    """An application of ASGI 2: made for a scope, then called."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await send({"type": "test.answer", "path": self.scope["path"], "to": (await receive())["type"]})


def made_by_a_function(scope: Any) -> Any:
    return Double(scope)


@pytest.mark.parametrize("application", [Double, made_by_a_function], ids=["class", "function"])
def test_an_asgi_2_application_works(application: Any) -> None:
    with pytest.warns(DeprecationWarning, match=r"takes only a scope, as in ASGI 2; take \(scope, receive, send\)"):
        single = single_callable(application)
    assert drive(single, CONNECT, path="/chat/") == [
        {"type": "test.answer", "path": "/chat/", "to": "websocket.connect"}
    ]


class TokenMiddleware:
    """Middleware as in Channels 2."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, scope: Any) -> Any:
        return self.inner({**scope, "path": "/seen/"})


class TokenMiddlewareInTwo(TokenMiddleware):
    """Middleware as in Channels 2.1, which has something to wait for."""

    def __call__(self, scope: Any) -> Any:
        async def instance(receive: Any, send: Any) -> Any:
            return await self.inner({**scope, "path": "/seen/"})(receive, send)

        return instance


class Telling(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept(self.scope["path"])


@pytest.mark.parametrize("middleware", [TokenMiddleware, TokenMiddlewareInTwo])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("wrapped", [BaseMiddleware(Telling.as_asgi()), Telling])
def test_middleware_of_asgi_2_wraps_applications(no_layer: None, middleware: Any, depth: int, wrapped: Any) -> None:
    application = wrapped
    for _ in range(depth):
        application = middleware(application)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first, second = single_callable(application), single_callable(application)
    assert any("takes only a scope" in str(one.message) for one in caught)
    for single in (first, second):
        assert drive(single, CONNECT, DISCONNECT) == [{"type": "websocket.accept", "subprotocol": "/seen/"}]


@pytest.mark.parametrize("application", [None, "project.asgi.application", {}])
def test_something_else_is_refused(application: Any) -> None:
    with pytest.raises(TypeError, match=r"an ASGI application is a callable \(scope, receive, send\), not"):
        single_callable(application)
