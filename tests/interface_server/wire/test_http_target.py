from __future__ import annotations

import pytest

from interface_server.wire.http_target import BadTarget, check_host, split_target


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
        (b"/a%2Fb%", "/a/b%", b""),
        (b"/%00", "/\x00", b""),
    ],
)
def test_a_target_is_a_path_and_a_query(target: bytes, path: str, query: bytes) -> None:
    assert split_target(target, "GET") == (path, query, None)


@pytest.mark.parametrize(
    ("target", "path", "query", "authority"),
    [
        (b"http://host/a?b", "/a", b"b", b"host"),
        (b"http://host", "/", b"", b"host"),
        (b"HTTPS://host:8443/", "/", b"", b"host:8443"),
        (b"http://h?next=/admin/x", "/", b"next=/admin/x", b"h"),
        (b"http://h/a?next=http://other/", "/a", b"next=http://other/", b"h"),
        (b"http://h#/fragment", "/", b"", b"h"),
        (b"http://[::1]:8000/a", "/a", b"", b"[::1]:8000"),
        (b"http://h//a", "//a", b"", b"h"),
    ],
)
def test_an_absolute_target_has_an_authority(target: bytes, path: str, query: bytes, authority: bytes) -> None:
    assert split_target(target, "GET") == (path, query, authority)


def test_options_may_ask_about_everything() -> None:
    assert split_target(b"*", "OPTIONS") == ("*", b"", None)


@pytest.mark.parametrize(
    "target",
    [
        *(b"nowhere", b"*", b"host:80", b"ftp://x/", b"/caf\xc3\xa9"),
        *(b"http://", b"http:///path", b"http://:80/", b"http://?a", b"http://user@host/", b"http://a,b/"),
    ],
)
def test_what_is_no_target_is_refused(target: bytes) -> None:
    with pytest.raises(BadTarget):
        split_target(target, "GET")


@pytest.mark.parametrize(
    "host",
    [b"h", b"example.org", b"example.org.", b"under_score", b"h:8000", b"h:", b"127.0.0.1", b"[::1]", b"[::1]:80", b""],
)
def test_a_host_may_have_a_port(host: bytes) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host",
    [b"bad host", b"a,b", b"u@h", b"h/p", b"h?a", b"h#a", b"h:port", b"h:1:2", b"::1", b"[::1", b"h\xe9", b"a\tb"],
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    with pytest.raises(BadTarget):
        check_host(host)
