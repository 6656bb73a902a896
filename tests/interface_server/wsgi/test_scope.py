"""From a WSGI environment to a scope."""

from __future__ import annotations

from typing import Any

import pytest

from interface_server.bridge.messages import MessageFactory
from interface_server.options import Options
from interface_server.wsgi.scope import BadEnviron, body_length, scope_of

ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/caf\xc3\xa9/",
    "QUERY_STRING": "a=%20&b=\xff",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "example.org",
    "SERVER_PORT": "8080",
    "REMOTE_ADDR": "192.0.2.7",
    "wsgi.url_scheme": "https",
}


def test_a_request_is_described_as_the_interface_server_describes_it() -> None:
    scope = scope_of(ENVIRON | {"HTTP_HOST": "example.org", "HTTP_X_FORWARDED_FOR": "1.2.3.4", "CONTENT_TYPE": "a/b"})
    message = MessageFactory(Options()).request(scope, "reply!x", b"body", None)
    assert message == {
        "reply_channel": "reply!x",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/café/",
        "query_string": b"a=%20&b=\xff",
        "root_path": "",
        "headers": [(b"host", b"example.org"), (b"x-forwarded-for", b"1.2.3.4"), (b"content-type", b"a/b")],
        "body": b"body",
        "client": ("192.0.2.7", 0),
        "server": ("example.org", 8080),
    }


def test_the_path_begins_with_the_root_path() -> None:
    scope = scope_of(ENVIRON | {"SCRIPT_NAME": "/app", "PATH_INFO": "/page/"})
    assert (scope["root_path"], scope["path"]) == ("/app", "/app/page/")


def test_an_empty_path_is_the_root() -> None:
    assert scope_of(ENVIRON | {"PATH_INFO": ""})["path"] == "/"


def test_bytes_that_are_no_utf8_do_not_matter() -> None:
    assert scope_of(ENVIRON | {"PATH_INFO": "/\xff"})["path"] == "/�"


def test_fields_that_are_none_of_the_clients_are_left_out() -> None:
    scope = scope_of(ENVIRON | {"CONTENT_LENGTH": "", "HTTP_DAPHNE_ROOT_PATH": "/x", "GATEWAY_INTERFACE": "CGI/1.1"})
    assert scope["headers"] == []


@pytest.mark.parametrize(
    ("changes", "client"),
    [({"REMOTE_ADDR": ""}, None), ({"REMOTE_PORT": "99"}, ("192.0.2.7", 99)), ({"REMOTE_PORT": "x"}, ("192.0.2.7", 0))],
)
def test_the_clients_address_may_be_unknown(changes: dict[str, str], client: Any) -> None:
    assert scope_of(ENVIRON | changes)["client"] == client


@pytest.mark.parametrize(("protocol", "version"), [("HTTP/2", "2"), ("", "1.0"), ("INCLUDED", "1.0")])
def test_the_version_is_the_protocols(protocol: str, version: str) -> None:
    assert scope_of(ENVIRON | {"SERVER_PROTOCOL": protocol})["http_version"] == version


def test_a_body_has_the_length_it_says() -> None:
    assert body_length({"CONTENT_LENGTH": "17"}) == 17
    assert body_length({}) == 0
    assert body_length({"CONTENT_LENGTH": "", "wsgi.input_terminated": True}) is None


@pytest.mark.parametrize("text", ["-1", "1e3", "x", "٣"])
def test_a_content_length_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadEnviron, match="is not a number"):
        body_length({"CONTENT_LENGTH": text})
