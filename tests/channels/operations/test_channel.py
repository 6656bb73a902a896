"""``manage.py millrace channel``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from channel_layer.delivery import Headers
from channel_layer.layer import ChannelLayer
from tests.channels.operations.layers import away, bare, on_draft, on_sqlite, printed
from tests.channels.operations.test_health import WEB, WORKER

MESSAGE = {"reply_channel": "daphne.a!x", "text": "secret", "bytes": b"\x00\x01", "parts": [1, 2], "n": 7, "no": None}
HEADERS: Headers = {"turn": 3, "state": {"session": b"secret"}}


def send(layer: ChannelLayer, channel: str, count: int = 1) -> None:
    layer.send_batch([layer.prepare(channel, MESSAGE, HEADERS) for _ in range(count)])


def rows(text: str) -> dict[str, str]:
    return {title: rest.strip() for title, _, rest in (line.partition(" ") for line in text.splitlines())}


def test_what_waits_and_who_listens_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", {**WORKER, "waited": {"mail": {"counts": [1, 1], "sum": 0.5}}})
    layer.publish_report("worker.c", {**WORKER, "channels": ["other"]})
    send(layer, "mail", 3)
    shown = printed(layers, capsys, "channel", "mail")
    layer.close()
    found = rows(shown)
    assert found["channel"] == "mail"
    assert found["waiting"] == "3 of 10000"
    assert found["sent"].startswith("3, ")
    assert found["waited"] == "0.2500 s on the average"
    assert found["read"] == "by   worker worker.b on here (pid 1)"
    assert "secret" not in shown


def test_a_channel_that_nobody_reads_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("worker.b", {**WORKER, "state": "draining"})
    send(layer, "mail")
    lines = printed(layers, capsys, "channel", "mail").splitlines()
    layer.close()
    assert "waiting   1 of 10000" in lines
    assert lines[-1] == "no process listens there"


def test_messages_are_shown_without_what_they_say_and_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    send(layer, "mail", 3)
    shown = printed(layers, capsys, "channel", "mail", "--peek", "2")
    assert "secret" not in shown
    first, second = [line for line in shown.splitlines() if line[0].isdigit()]
    assert first.startswith("1. 0.")
    kinds = "{reply_channel: text of 10, text: text of 6, bytes: bytes of 2, parts: list of 2, n: int, no: nothing}"
    assert first.endswith(f"headers turn=3, state=dict of 1, {kinds}")
    assert second.startswith("2. ")
    [found] = json.loads(printed(layers, capsys, "channel", "mail", "--peek", "1", "--json"))["messages"]
    assert (found["headers"], found["kinds"]["text"]) == ({"turn": 3, "state": "dict of 1"}, "text of 6")
    assert layer.channel_statistics("mail")["messages_pending"] == 3
    layer.close()


def test_what_they_say_is_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    send(layer, "mail")
    assert '"text": "secret"' in printed(layers, capsys, "channel", "mail", "--peek", "1", "--content")
    shown = printed(layers, capsys, "channel", "mail", "--peek", "1", "--content", "--json")
    [found] = json.loads(shown)["messages"]
    assert found["content"] == {**MESSAGE, "bytes": {"bytes": "0001"}}
    assert found["headers"]["state"] == {"session": {"bytes": b"secret".hex()}}
    layer.close()


def test_what_a_terminal_would_obey_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.send("mail", {"\x1b[2J": "\x1b[31m\u202e"})
    for arguments in ([], ["--content"]):
        assert all(
            line.isprintable()
            for line in printed(layers, capsys, "channel", "mail", "--peek", "1", *arguments).splitlines()
        )
    layer.close()


def test_of_a_process_the_messages_for_one_connection_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.publish_report("daphne.a", WEB)
    send(layer, "daphne.a!one")
    send(layer, "daphne.a!two")
    everything = json.loads(printed(layers, capsys, "channel", "daphne.a!", "--peek", "9", "--json"))
    one = json.loads(printed(layers, capsys, "channel", "daphne.a!one", "--peek", "9", "--json"))
    layer.close()
    assert [found["channel"] for found in everything["messages"]] == ["daphne.a!one", "daphne.a!two"]
    assert [found["channel"] for found in one["messages"]] == ["daphne.a!one"]
    assert one["pending"] == everything["pending"] == 2
    assert everything["listeners"] == ["web daphne.a on here (pid 1)"]


def test_a_layer_for_channels_1_tells_what_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, draft = on_draft(tmp_path)
    draft.send("mail", {"n": 1})
    found = json.loads(printed(layers, capsys, "channel", "mail", "--json"))
    assert (found["pending"], found["capacity"], found["listeners"]) == (1, None, None)
    with pytest.raises(CommandError, match="cannot be looked into"):
        printed(layers, capsys, "channel", "mail", "--peek", "1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no channel"], "invalid channel name 'no channel'"),
        (["mail", "--content"], "give both"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        printed(bare(tmp_path), capsys, "channel", *arguments)
    assert caught.value.returncode == 2


def test_a_layer_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="unavailable") as caught:
        printed(away(), capsys, "channel", "mail")
    assert caught.value.returncode == 3
