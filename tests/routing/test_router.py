"""`routing.Router`: what it finds."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from channel_layer.messages import SERVED
from routing import Route, Router, RoutingError, include, route, route_class

from .consumers import ByChannel, anything, as_dict, as_list, in_room, later, plain


class FakeMessage(dict[str, Any]):
    """The least that a router may expect of a message."""

    def __init__(self, channel_: str, /, **content: Any) -> None:
        super().__init__(content)
        self.channel = SimpleNamespace(name=channel_)


def test_a_message_goes_to_the_consumer_of_its_channel() -> None:
    router = Router([route("a", plain), route("b", anything)])
    assert router.match(FakeMessage("b")) == (anything, {})


@pytest.mark.parametrize("channels", [["a", "b", "a"], ("a", "b"), {"a", "b"}])
def test_a_route_may_listen_on_several_channels(channels: Any) -> None:
    router = Router([route(channels, plain)])
    assert router.channels == {"a", "b"}
    assert router.match(FakeMessage("a")) == router.match(FakeMessage("b")) == (plain, {})


def test_a_message_may_be_filtered_by_a_key_named_channel() -> None:
    router = Router([route("asgi.delay", plain, channel="^mail")])
    assert router.match(FakeMessage("asgi.delay", channel="mail.send")) == (plain, {})
    assert router.match(FakeMessage("asgi.delay", channel="chat")) is None


def test_a_message_on_a_channel_without_a_route_matches_nothing() -> None:
    assert Router([route("a", plain)]).match(FakeMessage("b")) is None


def test_the_first_route_that_fits_wins() -> None:
    router = Router([route("a", plain, path="^/x"), route("a", anything), route("a", plain)])
    assert router.match(FakeMessage("a", path="/y")) == (anything, {})
    assert router.match(FakeMessage("a", path="/xy")) == (plain, {})


@pytest.mark.parametrize(
    "routing",
    [
        as_list,
        tuple(as_list),
        as_dict,
        "tests.routing.consumers.as_list",
        "tests.routing.consumers.as_dict",
    ],
)
def test_a_routing_is_a_list_a_dict_or_a_dotted_path_to_either(routing: Any) -> None:
    assert Router(routing).match(FakeMessage("websocket.receive")) == (plain, {})


def test_a_consumer_may_be_a_dotted_path_also_to_an_attribute_of_a_class() -> None:
    router = Router({"a": "tests.routing.consumers.plain", "b": "tests.routing.consumers.ByChannel.inner"})
    assert router.match(FakeMessage("a")) == (plain, {})
    assert router.match(FakeMessage("b")) == (ByChannel.inner, {})


def test_named_groups_become_keyword_arguments() -> None:
    router = Router([route("a", in_room, path=r"^/chat/(?P<room>\w+)/$")])
    assert router.match(FakeMessage("a", path="/chat/lobby/")) == (in_room, {"room": "lobby"})


def test_groups_of_several_filters_are_merged() -> None:
    router = Router([route("a", anything, path=r"/(?P<room>\w+)", method=r"(?P<verb>GET|POST)$")])
    assert router.match(FakeMessage("a", path="/x", method="GET")) == (anything, {"room": "x", "verb": "GET"})
    assert router.match(FakeMessage("a", path="/x", method="PUT")) is None


def test_unnamed_groups_are_no_arguments() -> None:
    assert Router([route("a", plain, path=r"/(\w+)")]).match(FakeMessage("a", path="/x")) == (plain, {})


def test_a_filter_matches_from_the_start_and_not_to_the_end() -> None:
    router = Router([route("a", plain, path="/chat")])
    assert router.match(FakeMessage("a", path="/chat/room")) is not None
    assert router.match(FakeMessage("a", path="/old/chat")) is None


@pytest.mark.parametrize("pattern", ["^/x$", b"^/x$", re.compile("^/x$"), re.compile(b"^/x$")])
@pytest.mark.parametrize("value", ["/x", b"/x"])
def test_patterns_and_values_may_each_be_text_or_bytes(pattern: Any, value: Any) -> None:
    router = Router([route("a", plain, path=pattern)])
    assert router.match(FakeMessage("a", path=value)) == (plain, {})


def test_groups_of_bytes_values_are_text() -> None:
    router = Router([route("a", in_room, query_string=rb"room=(?P<room>.+)")])
    assert router.match(FakeMessage("a", query_string="room=caf\u00e9".encode())) == (in_room, {"room": "caf\u00e9"})


def test_bytes_that_are_no_utf8_do_not_break_the_match() -> None:
    router = Router([route("a", in_room, query_string="room=(?P<room>.+)")])
    assert router.match(FakeMessage("a", query_string=b"room=\xff")) == (in_room, {"room": "\ufffd"})


def test_flags_of_a_compiled_pattern_are_kept() -> None:
    router = Router([route("a", plain, path=re.compile("/X", re.IGNORECASE))])
    assert router.match(FakeMessage("a", path="/x")) is not None


@pytest.mark.parametrize("content", [{}, {"path": None}])
def test_a_message_without_the_filtered_key_does_not_match(content: dict[str, Any]) -> None:
    assert Router([route("a", plain, path=".*")]).match(FakeMessage("a", **content)) is None


def test_numbers_are_matched_as_text() -> None:
    router = Router([route("a", plain, order="0$")])
    assert router.match(FakeMessage("a", order=0)) is not None
    assert router.match(FakeMessage("a", order=10)) is None


def test_include_cuts_off_what_it_matched() -> None:
    router = Router([include("tests.routing.consumers.rooms", path="^/chat")])
    assert router.match(FakeMessage("websocket.receive", path="/chat/lobby/")) == (in_room, {"room": "lobby"})
    assert router.match(FakeMessage("websocket.receive", path="/chat/")) == (anything, {})
    assert router.match(FakeMessage("websocket.receive", path="/lobby/")) is None


def test_include_leaves_the_message_itself_as_it_is() -> None:
    message = FakeMessage("websocket.receive", path="/chat/lobby/")
    Router([include("tests.routing.consumers.rooms", path="^/chat")]).match(message)
    assert message == {"path": "/chat/lobby/"}


def test_includes_nest_and_their_groups_are_merged() -> None:
    inner = [route("a", anything, path=r"^/(?P<room>\w+)$")]
    router = Router([include([include(inner, path=r"^/(?P<floor>\d+)")], path=r"^/(?P<house>\w+)")])
    expected = {"house": "main", "floor": "3", "room": "hall"}
    assert router.match(FakeMessage("a", path="/main/3/hall")) == (anything, expected)


def test_the_inner_group_wins_where_both_have_a_name() -> None:
    router = Router([include([route("a", in_room, path="/(?P<room>.+)")], path=r"^/(?P<room>\w+)")])
    assert router.match(FakeMessage("a", path="/outer/inner")) == (in_room, {"room": "inner"})


def test_a_failed_include_leaves_no_groups_behind() -> None:
    inner = [route("a", in_room, path=r"/(?P<room>\w+)$")]
    router = Router([include(inner, path="/(?P<room>x)"), route("a", anything, path="/x")])
    assert router.match(FakeMessage("a", path="/x-")) == (anything, {})


def test_include_without_filters_only_groups_routes() -> None:
    router = Router([include(as_list), route("b", anything)])
    assert router.channels == {"websocket.receive", "b"}
    assert router.match(FakeMessage("websocket.receive")) == (plain, {})


def test_include_filters_on_a_missing_key_do_not_match() -> None:
    assert Router([include(as_list, path="^/")]).match(FakeMessage("websocket.receive")) is None


def test_a_class_is_routed_on_every_channel_it_names() -> None:
    router = Router([route_class(ByChannel, path="^/x")])
    assert router.channels == {"websocket.connect", "websocket.receive"}
    assert router.match(FakeMessage("websocket.receive", path="/x")) == (ByChannel, {})
    assert router.match(FakeMessage("websocket.receive", path="/y")) is None


def test_an_async_consumer_is_a_consumer() -> None:
    assert Router([route("a", later, path="(?P<room>.)")]).match(FakeMessage("a", path="x")) == (later, {"room": "x"})


def test_routes_added_later_come_last() -> None:
    router = Router([route("a", plain)])
    router.add_route(route("a", anything))
    router.add_route(route("b", anything))
    assert router.match(FakeMessage("a")) == (plain, {})
    assert router.match(FakeMessage("b")) == (anything, {})


def test_kwargs_belong_to_the_caller() -> None:
    router = Router([route("a", in_room, path="(?P<room>.)")])
    _, first = router.match(FakeMessage("a", path="x"))  # type: ignore[misc]
    first["room"] = "changed"
    assert router.match(FakeMessage("a", path="x")) == (in_room, {"room": "x"})


class TestDefaults:
    def test_http_goes_to_the_given_consumer(self) -> None:
        router = Router()
        router.check_default(plain)
        assert router.match(FakeMessage("http.request")) == (plain, {})

    def test_it_chooses_no_channel_for_the_project(self) -> None:
        router = Router([include([route("http.disconnect", anything)], path="^/x"), route("jobs", anything)])
        router.check_default(plain)
        assert [router.is_chosen(name) for name in ("http.disconnect", "jobs")] == [True, True]
        assert [router.is_chosen(name) for name in ("websocket.connect", "websocket.receive", "other")] == [False] * 3

    def test_it_listens_where_an_interface_server_sends(self) -> None:
        """The names are written there a second time, as routing knows nothing of channel layers."""
        router = Router()
        router.check_default(plain)
        assert router.channels == set(SERVED)

    def test_without_one_http_is_not_routed(self) -> None:
        router = Router()
        router.check_default()
        assert "http.request" not in router.channels

    def test_a_socket_nobody_wants_is_accepted(self) -> None:
        sent = []
        message = FakeMessage("websocket.connect")
        message.reply_channel = SimpleNamespace(send=sent.append)  # type: ignore[attr-defined]
        router = Router()
        router.check_default()
        consumer, kwargs = router.match(message)  # type: ignore[misc]
        consumer(message, **kwargs)
        assert sent == [{"accept": True}]

    @pytest.mark.parametrize("channel", ["websocket.receive", "websocket.disconnect"])
    def test_its_frames_and_its_end_are_ignored(self, channel: str) -> None:
        router = Router()
        router.check_default()
        consumer, kwargs = router.match(FakeMessage(channel))  # type: ignore[misc]
        consumer(FakeMessage(channel), **kwargs)

    def test_routes_of_the_project_come_first(self) -> None:
        router = Router([route("websocket.connect", anything, path="^/x"), route("http.request", anything)])
        router.check_default(plain)
        assert router.match(FakeMessage("http.request")) == (anything, {})
        assert router.match(FakeMessage("websocket.connect", path="/x")) == (anything, {})
        assert router.match(FakeMessage("websocket.connect", path="/y")) is not None

    def test_another_consumer_for_sockets_nobody_wants(self) -> None:
        router = Router()
        router.check_default(plain, anything)
        assert router.match(FakeMessage("websocket.connect")) == (anything, {})
        assert not router.is_chosen("websocket.connect")


def test_what_a_route_may_match_and_its_patterns() -> None:
    inner = [route("a", anything, path="^/(?P<room>.)$", text="x"), route("a", anything, method="GET")]
    router = Router([include(inner, path="^/in"), route("a", anything, text="y")])
    assert router.patterns("a", "path") == [("^/in", "^/(?P<room>.)$"), ("^/in",), ()]
    assert router.patterns("a", "method") == [(), ("GET",), ()]
    assert router.patterns("b", "path") == []
    assert router.may_match("a", "path", "/anything")  # by the last
    router = Router([include(inner[:1], path="^/in")])
    assert [router.may_match("a", "path", path) for path in ("/in/x", "/in/xx", "/x", None)] == [
        True,
        False,
        False,
        False,
    ]
    assert not router.may_match("b", "path", "/in/x")


class OnlyOdd:
    """A routing object of somebody's own."""

    def match(self, message: Any) -> Any:
        return (anything, {"number": message["number"]}) if message["number"] % 2 else None

    def channel_names(self) -> Any:
        return ["numbers"]


class Guarded(Route):
    """A route with an access rule."""

    def match(self, message: Any) -> Any:
        return None if message.get("path", "").endswith("secret") else super().match(message)


class Renamed(Route):
    """A route that says itself where it listens."""

    def channel_names(self) -> set[str]:
        return {f"site.{name}" for name in super().channel_names()}

    def match(self, message: Any) -> Any:
        return self.consumer, {}


class TestRoutingObjects:
    def test_one_with_match_and_channel_names_is_asked(self) -> None:
        router = Router([OnlyOdd(), route("numbers", plain)])
        assert router.channels == {"numbers"}
        assert router.match(FakeMessage("numbers", number=3)) == (anything, {"number": 3})
        assert router.match(FakeMessage("numbers", number=4)) == (plain, {})
        assert router.is_chosen("numbers")
        assert router.may_match("numbers", "path", None)
        assert router.patterns("numbers", "path") == [(), ()]

    def test_a_route_whose_match_is_overridden_is_asked(self) -> None:
        router = Router([Guarded("a", in_room, path=r"^/(?P<room>\w+)")])
        assert router.match(FakeMessage("a", path="/x")) == (in_room, {"room": "x"})
        assert router.match(FakeMessage("a", path="/secret")) is None
        assert router.match(FakeMessage("b", path="/x")) is None

    def test_its_names_are_asked_for_too(self) -> None:
        router = Router([Renamed("a", plain)])
        assert router.channels == {"site.a"}
        assert router.match(FakeMessage("site.a")) == (plain, {})

    def test_in_an_include_it_sees_what_the_include_leaves(self) -> None:
        class Exact(OnlyOdd):
            def match(self, message: Any) -> Any:
                return (anything, {"rest": message["path"]})

        router = Router([include([Exact()], path=r"^/(?P<room>\w+)")])
        message = Message({"path": "/x/y"}, "numbers", MemoryChannelLayer())
        assert router.match(message) == (anything, {"room": "x", "rest": "/y"})
        assert message["path"] == "/x/y"

    def test_it_may_be_added_and_included_by_path(self) -> None:
        router = Router()
        router.add_route(OnlyOdd())
        assert router.match(FakeMessage("numbers", number=1)) == (anything, {"number": 1})

    def test_entries_answer_on_their_own(self) -> None:
        one = route(["a", "b"], in_room, path=r"^/(?P<room>\w+)$")
        assert one.channel_names() == {"a", "b"}
        assert one.match(FakeMessage("b", path="/x")) == (in_room, {"room": "x"})
        assert one.match(FakeMessage("b", path="/")) is None
        assert one.match(FakeMessage("c", path="/x")) is None
        whole = include([one], path="^/in")
        assert whole.channel_names() == {"a", "b"}
        assert whole.match(FakeMessage("a", path="/in/x")) == (in_room, {"room": "x"})
        assert route_class(ByChannel).channel_names() == set(ByChannel.channel_names())

    def test_the_class_of_one_is_none(self) -> None:
        with pytest.raises(RoutingError, match="or an object with match"):
            Router([OnlyOdd])
