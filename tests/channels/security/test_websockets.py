"""`channels.security.websockets`: which pages may open a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings
from django.utils.decorators import method_decorator

from channels.exceptions import DenyConnection
from channels.security.websockets import BaseOriginValidator, allowed_hosts_only
from channels.sessions import channel_session
from routing import Router, RoutingError, route
from tests.channels.messages import state_of, websocket


@allowed_hosts_only
def consumer(message: Any, room: str = "") -> str:
    return f"ran {room}"


def from_origin(layer: Any, *origins: bytes) -> Any:
    message = websocket(layer)
    message.content["headers"] += [[b"origin", origin] for origin in origins]
    return message


@pytest.fixture(autouse=True)
def hosts() -> Any:
    with override_settings(ALLOWED_HOSTS=["good.com", ".wide.com", "[::1]"]):
        yield


@pytest.mark.parametrize(
    "origin",
    [b"http://good.com", b"https://good.com:8443", b"https://a.wide.com", b"http://GOOD.com", b"http://[::1]:8000"],
)
def test_pages_of_our_own_may(layer: Any, origin: bytes) -> None:
    assert consumer(from_origin(layer, origin), room="x") == "ran x"


@pytest.mark.parametrize("headers", [[[]], [[b"origin"]], [[b"origin", b"http://good.com", b""]]])
def test_an_entry_that_is_no_pair_names_no_origin(layer: Any, headers: Any) -> None:
    message = websocket(layer)
    message.content["headers"] = headers
    with pytest.raises(DenyConnection):
        consumer(message)


@pytest.mark.parametrize("headers", [{"Origin": "http://good.com"}, {b"origin": b"http://good.com"}])
def test_headers_of_a_message_made_by_hand_may_be_a_dict(layer: Any, headers: Any) -> None:
    message = websocket(layer)
    message.content["headers"] = headers
    assert consumer(message) == "ran "


@pytest.mark.parametrize(
    "origins",
    [
        [],
        [b"null"],
        [b""],
        [b"http://evil.com"],
        [b"http://good.com.evil.com"],
        [b"http://evilgood.com"],
        [b"http://good.com@evil.com"],
        [b"http://good.com", b"http://good.com"],
        [b"http://[::1"],
        ["http://g\u00f6\u00f6d.com".encode()],
        [b"\xff\xfe"],
        [b"good.com"],
        [b"file://good.com"],
        [b"http://"],
    ],
)
def test_all_others_are_denied_and_the_consumer_does_not_run(layer: Any, origins: list[bytes]) -> None:
    with pytest.raises(DenyConnection):
        consumer(from_origin(layer, *origins))


def test_with_debug_and_no_hosts_this_machine_may(layer: Any) -> None:
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
        assert consumer(from_origin(layer, b"http://localhost:8000"))
        with pytest.raises(DenyConnection):
            consumer(from_origin(layer, b"http://good.com"))


def test_with_debug_the_hosts_that_are_set_hold(layer: Any) -> None:
    with override_settings(ALLOWED_HOSTS=["good.com"], DEBUG=True):
        assert consumer(from_origin(layer, b"http://good.com"))
        for other in (b"http://localhost:8000", b"http://127.0.0.1", b"http://evil.com"):
            with pytest.raises(DenyConnection):
                consumer(from_origin(layer, other))


def test_it_works_on_methods(layer: Any) -> None:
    class Consumer:
        @allowed_hosts_only
        def direct(self, message: Any) -> str:
            return "ran"

        @method_decorator(allowed_hosts_only)
        def adapted(self, message: Any) -> str:
            return "ran"

    for method in (Consumer().direct, Consumer().adapted):
        assert method(from_origin(layer, b"http://good.com")) == "ran"
        with pytest.raises(DenyConnection):
            method(from_origin(layer, b"http://evil.com"))


def test_it_works_on_coroutines_inside_other_decorators(layer: Any) -> None:
    @channel_session
    @allowed_hosts_only
    async def later(message: Any) -> str:
        message.channel_session["a"] = 1
        return "ran"

    message = from_origin(layer, b"http://good.com")
    assert asyncio.run(later(message)) == "ran"
    assert message.state == state_of(a=1)
    with pytest.raises(DenyConnection):
        asyncio.run(later(from_origin(layer, b"http://evil.com")))


def test_other_rules_are_a_subclass(layer: Any) -> None:
    class Only(BaseOriginValidator):
        def validate_origin(self, message: Any, origin: str | None) -> bool:
            return origin == "app://mine"

    assert Only(consumer.func)(from_origin(layer, b"app://mine")) == "ran "


class EverybodyWithAnOrigin(BaseOriginValidator):
    def validate_origin(self, message: Any, origin: str) -> bool:
        return not origin.startswith("http://blocked")


@pytest.mark.parametrize("origins", [[], [b"http://good.com", b"http://good.com"], [b"\xff\xfe"]])
def test_a_subclass_is_not_asked_about_a_client_without_an_origin(layer: Any, origins: list[bytes]) -> None:
    guarded = EverybodyWithAnOrigin(consumer.func)
    with pytest.raises(DenyConnection):
        guarded(from_origin(layer, *origins))
    assert guarded(from_origin(layer, b"http://other")) == "ran "


def test_a_subclass_lets_in_clients_without_an_origin_by_giving_them_a_name(layer: Any) -> None:
    class AppsToo(EverybodyWithAnOrigin):
        def get_origin(self, message: Any) -> str:
            try:
                return super().get_origin(message)
            except DenyConnection:
                return f"app {self.get_header(message, b'user-agent')[0].decode()}"

    message = from_origin(layer)
    with pytest.raises(KeyError, match="user-agent"):
        AppsToo(consumer.func)(message)
    message.content["headers"].append([b"user-agent", b"mine"])
    assert AppsToo(consumer.func)(message) == "ran "


def test_the_router_looks_through_it() -> None:
    Router([route("a", consumer, path="(?P<room>.)")])
    with pytest.raises(RoutingError):
        Router([route("a", consumer, path="(?P<house>.)")])
