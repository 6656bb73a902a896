"""``manage.py millrace health``."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.facts import FORMAT
from tests.channels.operations.layers import away, bare, on_sqlite

WEB = {"format": FORMAT, "kind": "web", "state": "running", "host": "here", "pid": 1, "layer": {"up": True}}
WORKER = {**WEB, "kind": "worker", "channels": ["mail"]}


def run(layers: dict[str, Any], capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Status and output."""
    with override_settings(CHANNEL_LAYERS=layers):
        try:
            call_command("millrace", "health", *arguments, skip_checks=True)
            status: object = 0
        except SystemExit as error:
            status = error.code
    return status, capsys.readouterr().out


def test_the_status_says_whether_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    assert run(layers, capsys) == (1, "no web server reports\nno worker reports\n")
    layer.publish_report("daphne.a", WEB)
    layer.publish_report("worker.b", WORKER)
    assert run(layers, capsys) == (0, "ok: 1 web server, 1 worker\n")
    status, output = run(layers, capsys, "--json")
    assert (status, json.loads(output)) == (0, {"ok": True, "problems": []})
    layer.send("mail", {})
    time.sleep(0.05)  # it has to have waited for longer than the limit below
    status, output = run(layers, capsys, "--max-wait", "0.01", "--json")
    assert status == 1
    assert re.match(r"1 message waits on mail, the oldest for \d+\.\d seconds", json.loads(output)["problems"][0])
    layer.close()


def test_a_layer_that_is_away_has_a_status_of_its_own_within_two_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    began = time.monotonic()
    status, output = run(away(), capsys)
    assert status == 3
    assert "cannot be reached" in output or "refused" in output
    assert output.count("\n") == 1
    assert time.monotonic() - began < 20  # on a machine that is busy with other things


def test_a_layer_without_reports_is_one_sentence(tmp_path: Path) -> None:
    with override_settings(CHANNEL_LAYERS=bare(tmp_path)), pytest.raises(CommandError, match="keeps no reports"):
        call_command("millrace", "health", skip_checks=True)


def test_a_limit_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--max-wait must be more than 0 seconds, not 0"):
        call_command("millrace", "health", "--max-wait", "0", skip_checks=True)
