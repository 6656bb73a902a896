from __future__ import annotations

from interface_server.bridge.messages import MessageFactory, clean_headers, with_length
from interface_server.options import Options
from tests.interface_server.fakes import scope


def test_the_root_path_of_the_options_wins_over_that_of_the_scope() -> None:
    asked = scope(root_path="/scope")
    assert MessageFactory(Options()).connect(asked, "r!a")["root_path"] == "/scope"
    assert MessageFactory(Options(root_path="/app")).connect(asked, "r!a")["root_path"] == "/app"


def test_a_request_names_its_body_channel_only_if_there_is_one() -> None:
    factory = MessageFactory(Options())
    assert "body_channel" not in factory.request(scope(), "r!a", b"x", None)
    assert factory.request(scope(), "r!a", b"x", "b?c")["body_channel"] == "b?c"


def test_forwarded_headers_count_only_if_asked_for_and_from_a_proxy() -> None:
    fields = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-proto", b"https")]
    asked = scope(headers=fields, client=("127.0.0.1", 99))
    assert MessageFactory(Options()).seen(asked) is asked
    factory = MessageFactory(Options(proxy_headers=True))
    behind = factory.request(factory.seen(asked), "r!a", b"", None)
    assert (behind["client"], behind["scheme"]) == (("1.2.3.4", 0), "https")
    socket = factory.connect(factory.seen({**asked, "scheme": "ws"}), "r!a")
    assert socket["scheme"] == "wss"


def test_headers_are_lower_case_and_free_of_names_that_pass_for_others() -> None:
    given = [(b"X-One", b"1"), (b"X_One", b"2"), (b"Daphne-Root-Path", b"/"), (b"x-one", b"3")]
    assert clean_headers(given) == [(b"x-one", b"1"), (b"x-one", b"3")]


def test_a_body_that_came_in_chunks_has_a_length_instead() -> None:
    chunked = scope(headers=[(b"host", b"x"), (b"transfer-encoding", b"chunked")])
    assert with_length(chunked, 0)["headers"] == [(b"host", b"x"), (b"content-length", b"0")]
    assert with_length(scope(), 7)["headers"] == [(b"content-length", b"7")]
    assert chunked["headers"][1] == (b"transfer-encoding", b"chunked")


def test_a_length_that_is_there_stays_and_no_body_needs_none() -> None:
    said = scope(headers=[(b"content-length", b"7")])
    assert with_length(said, 7) is said
    assert with_length(scope(), 0)["headers"] == []
