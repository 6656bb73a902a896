"""``manage.py millrace status``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from tests.channels.operations.layers import away, bare, on_sqlite
from tests.channels.operations.test_health import WEB, WORKER


def shown(layers: dict[str, Any], capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with override_settings(CHANNEL_LAYERS=layers):
        call_command("millrace", "status", *arguments, no_color=True, skip_checks=True)
    return capsys.readouterr().out


def test_processes_and_channels_are_shown_and_what_is_wrong_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("daphne.a", {**WEB, "version": "1.0", "sockets": {"/chat/": 5, "/": 2}, "requesting": 1})
    more = {"threads": 4, "busy": 2, "messages": {"mail": {"ok": 8, "failed": 1}}, "errors_count": {"ValueError": 1}}
    layer.publish_report("worker.b", {**WORKER, "version": "1.0", **more, "instances": 3})
    layer.send("http.request", {})
    lines = shown(layers, capsys).splitlines()
    layer.close()
    assert lines[0] == "1 message waits on http.request, and no worker listens there"
    assert lines[2].split() == ["process", "host", "pid", "version", "state", "since", "at", "work"]
    assert " ".join(lines[3].split()) == "daphne.a here 1 1.0 running 7 WebSockets, 1 requests"
    work = "2 of 4 threads, 9 messages, 3 instances, 1 errors"
    assert " ".join(lines[4].split()) == f"worker.b here 1 1.0 running {work}"
    assert lines[6].split() == ["channel", "waiting", "oldest", "sent", "refused"]
    rows = {line.split()[0]: line.split() for line in lines[7:]}
    assert rows["http.request"][1] == "1"
    assert rows["mail"] == ["mail", "0", "0", "0"]


def test_machines_get_all_that_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", {**WORKER, "something of a later version": {"x": 1}})
    found = json.loads(shown(layers, capsys, "--json"))
    layer.close()
    assert found["ok"] is False
    assert found["problems"] == ["no web server reports"]
    [process] = found["processes"]
    assert (process["name"], process["verdict"], process["something of a later version"]) == (
        "worker.b",
        "running",
        {"x": 1},
    )
    assert found["channels"]["mail"]["messages_pending"] == 0


def test_a_layer_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        shown(away(), capsys)
    assert caught.value.code == 3
    assert capsys.readouterr().out.count("\n") == 1


def test_a_layer_without_reports_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="keeps no reports"):
        shown(bare(tmp_path), capsys)
