from __future__ import annotations

import pytest

from interface_server.http_target import BadTarget, split_target


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/a%20b?c=d?e", "/a b", b"c=d?e"),
        (b"/caf%C3%A9", "/café", b""),
        (b"/bad%FF", "/bad\ufffd", b""),
        (b"//host/path", "//host/path", b""),
        (b"/a#fragment", "/a", b""),
        (b"/a?b#fragment", "/a", b"b"),
        (b"http://host/a?b", "/a", b"b"),
        (b"http://host", "/", b""),
        (b"/a%2Fb%", "/a/b%", b""),
        (b"/%00", "/\x00", b""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, path: str, query: bytes) -> None:
    assert split_target(target, "GET") == (path, query)


def test_options_may_ask_about_everything() -> None:
    assert split_target(b"*", "OPTIONS") == ("*", b"")


@pytest.mark.parametrize("target", [b"nowhere", b"*", b"host:80", b"ftp://x/", b"/caf\xc3\xa9", b"http://"])
def test_what_is_no_target_is_refused(target: bytes) -> None:
    with pytest.raises(BadTarget):
        split_target(target, "GET")
