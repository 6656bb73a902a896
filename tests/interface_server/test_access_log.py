from __future__ import annotations

import io
import re

from interface_server.access_log import AccessLog, printable
from tests.interface_server.fakes import scope


def test_a_request_is_a_line_in_the_common_format() -> None:
    stream = io.StringIO()
    AccessLog(stream).request(scope(client=("1.2.3.4", 5), query_string=b"a=1"), 200, 12, 0.5)
    pattern = r'1\.2\.3\.4:5 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /p\?a=1 HTTP/1\.1" 200 12 0\.500\n'
    assert re.fullmatch(pattern, stream.getvalue())


def test_a_websocket_event_is_a_line() -> None:
    stream = io.StringIO()
    AccessLog(stream).websocket(scope("websocket"), "WSDISCONNECT", 1000)
    assert stream.getvalue().endswith('"WSDISCONNECT /p" 1000 -\n')


def test_nothing_in_a_path_can_end_the_line_or_the_field() -> None:
    assert printable('a\nb"c\\d\x1b[31m\u2028') == r"a\x0ab\x22c\x5cd\x1b[31m\u2028"


def test_a_log_that_cannot_be_written_is_given_up() -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    stream.close()
    log.request(scope(), 200, 0, 0)
    assert not log.enabled


def test_no_stream_is_no_log() -> None:
    log = AccessLog.open("")
    assert not log.enabled
    log.request(scope(), 200, 0, 0)


def test_what_is_kept_of_a_scope_gives_the_same_lines() -> None:
    whole, rest = io.StringIO(), io.StringIO()
    full = scope("websocket", client=("1.2.3.4", 5), query_string=b"a=1")
    AccessLog(whole).websocket(full, "WSDISCONNECT", 1000)
    log = AccessLog(rest)
    kept = log.needed(full)
    log.websocket(kept, "WSDISCONNECT", 1000)
    assert re.sub(r"\[.*?\]", "", rest.getvalue()) == re.sub(r"\[.*?\]", "", whole.getvalue())
    assert "headers" not in kept
    assert AccessLog(None).needed(full) == {}
