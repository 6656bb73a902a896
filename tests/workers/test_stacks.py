"""The stacks of others below a line of the log."""

from __future__ import annotations

import json
import logging

import pytest

from interface_server.logs.server_log import formatter
from workers.stacks import log_with_stack

logger = logging.getLogger("tests.stacks")
STACK = '  File "consumers.py", line 3, in wait\n    sleep()\nERROR all is lost\x1b[1m\n'


def test_a_stack_stands_below_its_line_and_cannot_pass_for_one(caplog: pytest.LogCaptureFixture) -> None:
    log_with_stack(logger, logging.ERROR, STACK, "%s hangs", "worker-1")
    [record] = caplog.records
    first, *below = formatter("text").format(record).splitlines()
    assert first.endswith("ERROR   worker-1 hangs")
    assert below == ['    File "consumers.py", line 3, in wait', "      sleep()", r"  ERROR all is lost\x1b[1m"]
    found = json.loads(formatter("json").format(record))
    assert (found["message"], found["stack"]) == ("worker-1 hangs", STACK.rstrip("\n"))
    assert (record.funcName, record.filename) == (
        "test_a_stack_stands_below_its_line_and_cannot_pass_for_one",
        "test_stacks.py",
    )


def test_a_line_without_a_stack_and_one_that_is_not_wanted(caplog: pytest.LogCaptureFixture) -> None:
    log_with_stack(logger, logging.WARNING, "", "nothing runs")
    log_with_stack(logger, logging.DEBUG, STACK, "not shown")
    assert [(record.getMessage(), record.stack_info) for record in caplog.records] == [("nothing runs", None)]
