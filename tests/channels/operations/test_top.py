"""``manage.py millrace top``."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from channel_layer.memory import MemoryChannelLayer
from channels.operations import top
from channels.operations.activity import History
from channels.operations.top import look
from tests.channels.operations.layers import away, bare, on_sqlite, printed
from tests.channels.operations.test_health import WEB, WORKER


def test_machines_get_a_line_for_each_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("daphne.a", WEB)
    layer.publish_report("worker.b", {**WORKER, "messages": {"mail": {"ok": 1}}, "errors": ["long"]})
    monkeypatch.setattr(top, "EVERY_SECONDS", 0.05)
    lines = printed(layers, capsys, "top", "--json", "--count", "2").splitlines()
    layer.close()
    first, second = map(json.loads, lines)
    assert first["ok"] is second["ok"] is True
    assert first["activity"] is None
    assert [process["name"] for process in first["processes"]] == ["daphne.a", "worker.b"]
    assert "errors" not in first["processes"][1]
    assert first["channels"]["mail"]["messages_pending"] == 0
    assert 0 < second["at"] - first["at"] < 60


def test_the_second_report_of_a_process_makes_an_activity() -> None:
    layer, history = MemoryChannelLayer(), History()
    for ok in (1, 5):
        if ok > 1:
            time.sleep(0.6)  # reports less than half a second apart are taken for the same
        layer.publish_report("worker.b", {**WORKER, "messages": {"mail": {"ok": ok}}})
        found, activity = look(layer, history)
    assert found.problems == ["no web server reports"]
    assert activity is not None
    assert 0 < activity.messages.per_second < 4 / 0.6


def test_without_a_terminal_one_sentence_names_what_to_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="status prints the same once") as caught:
        printed(bare(tmp_path), capsys, "top")
    assert caught.value.returncode == 2


def test_without_rich_one_sentence_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rich" else find(name))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(CommandError, match=r"pip install 'django-millrace\[terminal\]'"):
        printed(bare(tmp_path), capsys, "top")


def test_in_a_terminal_it_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", WORKER)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setitem(os.environ, "COLUMNS", "150")
    shown = printed(layers, capsys, "top", "--count", "1")
    layer.close()
    assert "no web server reports" in shown
    assert "worker.b" in shown


def test_a_layer_that_is_away_is_a_problem_that_may_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "EVERY_SECONDS", 0.05)
    lines = printed(away(), capsys, "top", "--json", "--count", "2").splitlines()
    assert len(lines) == 2
    assert all("unavailable" in json.loads(line)["problems"][0] for line in lines)


MEMORY: dict[str, Any] = {"default": {"BACKEND": "channel_layer.memory.MemoryChannelLayer", "ROUTING": []}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["top", "--json"], "reaches no further than its own process"),
        (["groups"], "reaches no further than its own process"),
    ],
)
def test_a_layer_in_memory_shows_nothing(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        printed(MEMORY, capsys, *arguments)
    assert caught.value.returncode == 1


def test_a_layer_without_reports_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="keeps no reports"):
        printed(bare(tmp_path), capsys, "top", "--json")
