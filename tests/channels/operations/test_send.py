"""``manage.py millrace send``."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from routing import route
from tests.channels.operations.layers import away, on_draft, on_sqlite, printed
from tests.channels.operations.test_health import WEB, WORKER


def with_routes(layers: dict[str, Any]) -> dict[str, Any]:
    return {"default": {**layers["default"], "ROUTING": [route("mail", print)]}}


def test_a_message_is_sent_to_consumers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", WORKER)
    assert printed(layers, capsys, "send", "mail", '{"n": 1, "list": [null, 2.5, "ü"]}') == "sent to mail\n"
    assert layer.receive(["mail"]) == ("mail", {"n": 1, "list": [None, 2.5, "ü"]})
    layer.close()


def test_standard_input_may_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, layer = on_sqlite(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 2}\n'))
    shown = printed(with_routes(layers), capsys, "send", "mail", "-", "--json")
    assert json.loads(shown) == {"sent": True, "channel": "mail"}
    assert layer.receive(["mail"]) == ("mail", {"n": 2})
    layer.close()


def test_a_connection_gets_one_if_its_server_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    with pytest.raises(CommandError, match=r"nobody is known to read daphne\.a!x"):
        printed(layers, capsys, "send", "daphne.a!x", '{"text": "hello"}')
    layer.publish_report("daphne.a", WEB)
    printed(layers, capsys, "send", "daphne.a!x", '{"text": "hello"}')
    assert layer.receive(["daphne.a!"]) == ("daphne.a!x", {"text": "hello"})
    layer.close()


def test_a_channel_that_nobody_reads_gets_one_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", WORKER)
    with pytest.raises(CommandError, match="--anyway sends the message nevertheless") as caught:
        printed(with_routes(layers), capsys, "send", "mial", "{}")
    assert caught.value.returncode == 1
    assert layer.receive(["mial"]) == (None, None)
    printed(with_routes(layers), capsys, "send", "mial", "{}", "--anyway")
    assert layer.receive(["mial"]) == ("mial", {})
    layer.close()


def test_on_a_layer_without_reports_the_routing_is_all_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, draft = on_draft(tmp_path)
    printed(with_routes(layers), capsys, "send", "mail", "{}")
    printed(layers, capsys, "send", "daphne.a!x", "{}")
    assert draft.receive(["mail"])[0] == "mail"
    with pytest.raises(CommandError, match="nobody is known"):
        printed(layers, capsys, "send", "mail", "{}")


@pytest.mark.parametrize(
    ("channel", "message", "words"),
    [
        ("mail", "{", "the message is not JSON: "),
        ("mail", "[" * 100_000, "nested too deeply"),
        ("mail", "[1]", "must be a JSON object .* not list"),
        ("mail", '{"n": 99999999999999999999999}', "integer of more than 64 bits"),
        ("no channel", "{}", "invalid channel name 'no channel'"),
        ("mail!", "{}", "invalid channel name 'mail!'"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], channel: str, message: str, words: str
) -> None:
    layers, layer = on_sqlite(tmp_path)
    with pytest.raises(CommandError, match=words) as caught:
        printed(layers, capsys, "send", channel, message, "--anyway")
    assert caught.value.returncode == 2
    assert layer.global_statistics()["messages_count"] == 0
    layer.close()


def test_a_full_channel_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layers["default"]["CONFIG"]["capacity"] = 1
    printed(layers, capsys, "send", "mail", "{}", "--anyway")
    with pytest.raises(CommandError, match="'mail' is full") as caught:
        printed(layers, capsys, "send", "mail", "{}", "--anyway")
    assert caught.value.returncode == 1
    layer.close()


def test_a_layer_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="unavailable") as caught:
        printed(away(), capsys, "send", "mail", "{}")
    assert caught.value.returncode == 3
