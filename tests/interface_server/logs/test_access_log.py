from __future__ import annotations

import re
from pathlib import Path

import pytest
from websockets.sync.client import connect

from interface_server.logs.access_log import AccessLog, ascii_field
from tests.interface_server.fakes import scope
from tests.interface_server.helpers import running, status_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_a_request_is_a_line_in_the_common_format(path: Path) -> None:
    log = AccessLog.open(str(path))
    log.request(scope(client=("1.2.3.4", 5), query_string=b"a=1"), 200, 12, 0.5)
    log.close()
    pattern = r'1\.2\.3\.4:5 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /p\?a=1 HTTP/1\.1" 200 12 0\.500\n'
    assert re.fullmatch(pattern, path.read_text())


def test_a_websocket_event_is_a_line(path: Path) -> None:
    log = AccessLog.open(str(path))
    log.websocket(scope("websocket"), "WSDISCONNECT", 1000)
    log.close()
    assert path.read_text().endswith('"WSDISCONNECT /p" 1000 -\n')
    assert not log.enabled


def test_text_from_outside_is_printable_ascii() -> None:
    assert ascii_field('a\nb"c\\d\x1b[31m\u2028') == r"a\x0ab\x22c\x5cd\x1b[31m\u2028"
    assert ascii_field("é\u202e\ud800\U0001f600 ~!") == r"\xe9\u202e\ud800\U0001f600 ~!"


EVIL = 'x\r\n1.2.3.4 - - "GET \x1b[2J\u202e\\'


@pytest.mark.parametrize(
    "outside",
    [
        {"client": (EVIL, 5)}, {"client": ("1.2.3.4", EVIL)}, {"method": EVIL}, {"path": EVIL}, {"http_version": EVIL},
        {"query_string": EVIL.encode()}, {"query_string": bytes(range(256))},
    ],
)  # fmt: skip
def test_nothing_from_outside_can_end_its_field_or_the_line(path: Path, outside: dict[str, object]) -> None:
    log = AccessLog.open(str(path))
    log.request(scope(**outside), 200, 12, 0.5)
    log.close()
    text = path.read_bytes().decode("ascii")
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert text.count('"') == 2
    assert re.fullmatch(r'.+ - - \[[^]]+\] "[^"]+" 200 12 0\.500\n', text)


def test_no_target_is_no_log() -> None:
    log = AccessLog.open("")
    assert not log.enabled
    log.request(scope(), 200, 0, 0)
    log.close()


def test_what_is_kept_of_a_scope_gives_the_same_lines(path: Path) -> None:
    full = scope("websocket", client=("1.2.3.4", 5), query_string=b"a=1")
    log = AccessLog.open(str(path))
    log.websocket(full, "WSDISCONNECT", 1000)
    kept = log.needed(full)
    log.websocket(kept, "WSDISCONNECT", 1000)
    log.close()
    one, other = re.sub(r"\[.*?\]", "", path.read_text()).splitlines()
    assert one == other
    assert "headers" not in kept
    assert AccessLog(None).needed(full) == {}


def test_behind_a_proxy_the_lines_name_the_client(path: Path) -> None:
    fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Port: 777\r\n"
    with running(access_log=str(path), proxy_headers=True) as server:
        assert status_of(server.get("/page", fields)) == 200
        with connect(server.url("/socket"), additional_headers={"X-Forwarded-For": "5.6.7.8"}):
            pass
    lines = path.read_text().splitlines()
    assert [line.split()[0] for line in lines if "/page" in line] == ["1.2.3.4:777"]
    events = [line.partition('"')[2].split()[0] for line in lines if line.startswith("5.6.7.8:0 ")]
    assert events == ["WSCONNECTING", "WSCONNECT", "WSDISCONNECT"]
