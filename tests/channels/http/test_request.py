"""`channels.http.request`: an ``http.request`` message as Django's request. For views see `test_handler`."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import override_settings

from channels import exceptions
from channels.http.request import AsgiRequest

from ..messages import REPLY, request

BODY = "http.request.body?x"


def test_it_is_djangos_request(layer: Any) -> None:
    found = AsgiRequest(request(layer, "/x/", "post"))
    assert isinstance(found, HttpRequest)
    assert (found.method, found.path, found.scheme) == ("POST", "/x/", "http")


def test_headers_with_underscores_are_never_in_meta(layer: Any) -> None:
    meta = AsgiRequest(request(layer, headers={"x_forwarded_for": "6.6.6.6", "remote_user": "root"})).META
    assert "HTTP_X_FORWARDED_FOR" not in meta
    assert "HTTP_REMOTE_USER" not in meta
    assert "REMOTE_USER" not in meta


def test_repeated_headers_are_joined(layer: Any) -> None:
    headers = [[b"x-a", b"1"], [b"X-A", b"2"], [b"cookie", b"a=1"], [b"cookie", b"b=2"]]
    found = AsgiRequest(request(layer, headers={}))
    found.message.content["headers"] = headers
    again = AsgiRequest(found.message)
    assert again.META["HTTP_X_A"] == "1,2"
    assert again.COOKIES == {"a": "1", "b": "2"}


def test_headers_may_be_a_dict(layer: Any) -> None:
    found = AsgiRequest(request(layer, headers={}))
    found.message.content["headers"] = {"host": b"example.org", b"x-name": "Zo\xeb", "cookie": "a=1"}
    again = AsgiRequest(found.message)
    assert (again.META["HTTP_HOST"], again.META["HTTP_X_NAME"]) == ("example.org", "Zo\xeb")
    assert again.COOKIES == {"a": "1"}


@pytest.mark.parametrize(
    ("root_path", "path", "path_info", "full"),
    [
        ("", "/describe/", "/describe/", "/describe/"),
        ("/app", "/app/describe/", "/describe/", "/app/describe/"),
        ("/app", "/describe/", "/describe/", "/app/describe/"),
        ("/desc", "/describe/", "/describe/", "/desc/describe/"),
        ("/app", "/app", "/", "/app"),
    ],
)
def test_the_mount_point(layer: Any, root_path: str, path: str, path_info: str, full: str) -> None:
    found = AsgiRequest(request(layer, path, root_path=root_path))
    assert (found.path_info, found.path, found.META["SCRIPT_NAME"]) == (path_info, full, root_path)


def test_force_script_name_wins(layer: Any) -> None:
    with override_settings(FORCE_SCRIPT_NAME="/forced"):
        assert AsgiRequest(request(layer, "/forced/x/", root_path="/app")).path_info == "/x/"


def test_unicode_paths(layer: Any) -> None:
    assert AsgiRequest(request(layer, "/caf\u00e9/")).get_full_path() == "/caf%C3%A9/"


def test_the_encoding_can_be_changed(layer: Any) -> None:
    found = AsgiRequest(request(layer, query="a=%e9"))
    found.encoding = "latin-1"
    assert found.GET["a"] == "\u00e9"


def test_it_has_the_message_and_its_reply_channel(layer: Any) -> None:
    message = request(layer)
    found = AsgiRequest(message)
    assert found.message is message
    assert found.reply_channel.name == REPLY


def test_making_a_request_does_not_wait_for_its_body(layer: Any) -> None:
    assert AsgiRequest(request(layer, method="POST", body_channel=BODY)).method == "POST"


def test_the_exceptions_of_channels_1_are_its_attributes() -> None:
    assert AsgiRequest.ResponseLater is exceptions.ResponseLater
    assert AsgiRequest.RequestTimeout is exceptions.RequestTimeout
    assert AsgiRequest.RequestAborted is exceptions.RequestAborted


def test_content_type_and_length_have_no_prefix_and_the_charset_is_known(layer: Any) -> None:
    found = AsgiRequest(request(layer, headers={"content-type": "text/plain; charset=latin-1", "content-length": "3"}))
    assert (found.META["CONTENT_TYPE"], found.META["CONTENT_LENGTH"]) == ("text/plain; charset=latin-1", "3")
    assert "HTTP_CONTENT_TYPE" not in found.META
    assert (found.content_type, found.encoding) == ("text/plain", "latin-1")


def test_without_a_content_type_it_is_empty(layer: Any) -> None:
    found = AsgiRequest(request(layer))
    assert (found.content_type, found.content_params) == ("", {})


def test_a_message_with_the_least_that_is_required(layer: Any) -> None:
    message = request(layer)
    message.content = {"reply_channel": REPLY, "path": "/x/"}
    found = AsgiRequest(message)
    assert (found.method, found.path, found.GET, found.body) == ("GET", "/x/", {}, b"")
    assert (found.META["SERVER_NAME"], found.META["SERVER_PORT"]) == ("unknown", "80")


def test_after_a_body_that_failed_a_report_finds_no_form_and_no_second_failure(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AsgiRequest, "body_receive_timeout", 0.01)
    found = AsgiRequest(request(layer, method="POST", body=b"a=1", body_channel=BODY))
    with pytest.raises(exceptions.RequestTimeout):
        _ = found.body
    assert (found.POST, found.FILES) == ({}, {})
    with pytest.raises(exceptions.RequestTimeout):
        _ = found.body


def test_closing_it_gives_its_body_back(layer: Any) -> None:
    layer.send(BODY, {"content": b"b", "more_content": False})
    found = AsgiRequest(request(layer, method="POST", body=b"a", body_channel=BODY))
    assert found.read() == b"ab"
    found.close()
    with pytest.raises(ValueError, match="closed"):
        found._stream.read()
