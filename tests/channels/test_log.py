"""`channels.log`."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from channels import log


@contextmanager
def fresh() -> Iterator[None]:
    """The loggers as they are before anybody has configured them."""
    loggers = [logging.getLogger(name) for name in log.LOGGERS]
    before = [(logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
        logger.handlers[:] = []
        logger.propagate = False  # pytest listens at the root
    try:
        yield
    finally:
        for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate = propagate


def flush() -> None:
    """Have the lines so far written."""
    for name in log.LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.flush()


@pytest.mark.parametrize(("verbosity", "shown"), [(0, ["W"]), (1, ["W", "I"]), (2, ["W", "I", "D"])])
def test_verbosity_chooses_what_is_shown(verbosity: int, shown: list[str]) -> None:
    stream = io.StringIO()
    with fresh():
        log.set_up(verbosity, stream)
        logger = logging.getLogger("workers.worker")
        logger.warning("W")
        logger.info("I")
        logger.debug("D")
        flush()
    assert [line[-1] for line in stream.getvalue().splitlines()] == shown


def test_lines_have_a_date_or_are_json() -> None:
    for log_format in log.FORMATS:
        stream = io.StringIO()
        with fresh():
            log.set_up(1, stream, log_format)
            logging.getLogger("channels").info("ready")
            flush()
        if log_format == "json":
            assert json.loads(stream.getvalue())["message"] == "ready"
        else:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    ready\n", stream.getvalue())


def test_what_a_project_has_configured_stays() -> None:
    mine, logger = logging.NullHandler(), logging.getLogger("channels")
    with fresh():
        logger.addHandler(mine)
        logger.setLevel(logging.ERROR)
        log.set_up(2)
        assert (logger.handlers, logger.level) == ([mine], logging.ERROR)


def test_setting_up_twice_shows_lines_once() -> None:
    stream = io.StringIO()
    with fresh():
        log.set_up(1, stream)
        log.set_up(1, stream)
        logging.getLogger("channels").info("once")
        flush()
    assert stream.getvalue().count("once") == 1


def test_a_message_line_can_be_read() -> None:
    line = log.message_line("websocket.receive", "/chat/", 0.0042, "ok")
    assert line.split() == ["websocket.receive", "/chat/", "4.2", "ms", "ok"]


@pytest.mark.parametrize(("verbosity", "level"), [(0, logging.INFO), (1, logging.INFO), (2, logging.DEBUG)])
def test_a_command_of_an_application_sets_up_its_own_logger_once(
    verbosity: int, level: int, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"tests.own.{verbosity}"
    logger = log.setup_logger(name, verbosity)
    assert log.setup_logger(name, verbosity) is logger is logging.getLogger(name)
    assert logger.level == level
    assert not logger.propagate
    logger.info("hello")
    for handler in logger.handlers:
        handler.flush()
        handler.close()
    logger.handlers.clear()
    assert capfd.readouterr().err.count("hello") == 1
