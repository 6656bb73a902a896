from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from interface_server.logs.server_log import LineFormatter, LineHandler, formatter, one_line, printable


@pytest.fixture
def record() -> Iterator[tuple[logging.Logger, io.StringIO, LineHandler]]:
    stream = io.StringIO()
    handler = LineHandler(stream)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("tests.log")
    logger.addHandler(handler)
    yield logger, stream, handler
    logger.removeHandler(handler)


def test_nothing_from_outside_begins_a_line_or_moves_the_cursor() -> None:
    assert one_line("a\r\nERROR b\x1b[2J\x9b1m\u202e\u2028\ud800\x00") == (
        r"a\r\nERROR b\x1b[2J\x9b1m\u202e\u2028\ud800\x00"
    )
    assert one_line("Grüße, 世界") == "Grüße, 世界"


def test_text_from_outside_cannot_break_a_line() -> None:
    assert printable("a\r\nINFO forged\x1b[31m") == "a\\r\\nINFO forged\\x1b[31m"
    assert printable("x" * 300) == "x" * 199 + "…"


def test_a_record_is_a_line(record: tuple[logging.Logger, io.StringIO, LineHandler]) -> None:
    logger, stream, handler = record
    logger.warning("no answer to %s", "/a\nERROR all is lost\x1b[1m")
    handler.flush()
    assert stream.getvalue() == "WARNING no answer to /a\\nERROR all is lost\\x1b[1m\n"


def test_a_traceback_cannot_pass_for_records(record: tuple[logging.Logger, io.StringIO, LineHandler]) -> None:
    logger, stream, handler = record
    try:
        raise ValueError("bad\nERROR all is lost\x1b[1m")
    except ValueError:
        logger.exception("failed", stack_info=True)
    handler.flush()
    first, *rest = stream.getvalue().splitlines()
    assert first == "ERROR failed"
    assert rest[0] == "  Traceback (most recent call last):"
    assert r"  ERROR all is lost\x1b[1m" in rest
    assert all(line.startswith("  ") for line in rest)
    assert any("Stack (most recent call last):" in line for line in rest)


def test_json_is_an_object_a_line(record: tuple[logging.Logger, io.StringIO, LineHandler]) -> None:
    logger, stream, handler = record
    handler.setFormatter(formatter("json"))
    try:
        raise ValueError("bad\nline")
    except ValueError:
        logger.exception("failed: %s", "/a\nb\x1b\udcff", stack_info=True)
    handler.flush()
    [line] = stream.getvalue().splitlines()
    assert line.isascii()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("ERROR", "tests.log", "failed: /a\nb\x1b\udcff")
    assert found["exception"].endswith("ValueError: bad\nline")
    assert found["stack"].startswith("Stack")
    assert datetime.fromisoformat(found["time"]).tzinfo is not None


def test_a_record_that_cannot_be_formatted_ends_nothing(
    record: tuple[logging.Logger, io.StringIO, LineHandler], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stream, handler = record
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for text in ("%d", "next %s"):
        handler.handle(logging.makeLogRecord({"msg": text, "args": ("one",), "levelname": "WARNING"}))
    handler.flush()
    assert stream.getvalue() == "WARNING next one\n"
