"""``manage.py millrace flush``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from channel_layer.delivery import Headers
from channel_layer.exceptions import LayerUnavailable
from channel_layer.sqlite import SqliteChannelLayer
from channels.operations.flush import BATCH, empty
from tests.channels.operations.layers import away, on_draft, on_sqlite, printed
from tests.channels.operations.test_consent import Terminal


def test_messages_are_removed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    assert printed(layers, capsys, "flush", "mail") == "no message waits on mail\n"
    count = 2 * BATCH + 1
    layer.send_batch([layer.prepare("mail", {"n": n}) for n in range(count)])
    layer.send("other", {})
    assert printed(layers, capsys, "flush", "mail", "--yes") == f"{count} messages removed from mail\n"
    assert layer.channel_statistics("mail")["messages_pending"] == 0
    assert layer.channel_statistics("other")["messages_pending"] == 1
    shown = printed(layers, capsys, "flush", "other", "--yes", "--json")
    assert json.loads(shown) == {"channel": "other", "removed": 1, "told": 0}
    layer.close()


def test_the_question_has_the_number_of_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.send_batch([layer.prepare("mail", {"n": n}) for n in range(2)])
    with pytest.raises(CommandError, match=r"Remove 2 messages from mail\? There is no terminal") as caught:
        printed(layers, capsys, "flush", "mail")
    assert caught.value.returncode == 2
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    with pytest.raises(CommandError, match="nothing was removed"):
        printed(layers, capsys, "flush", "mail")
    assert layer.channel_statistics("mail")["messages_pending"] == 2
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert printed(layers, capsys, "flush", "mail") == "2 messages removed from mail\n"
    layer.close()


def test_who_waits_for_an_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    waiting: list[tuple[dict[str, Any], Headers | None]] = [
        ({"reply_channel": "daphne.a!request"}, {"turn": 0}),
        ({"reply_channel": "daphne.a!frame"}, {"turn": 7}),
        ({"reply_channel": "no name"}, {"turn": 7}),
        ({"reply_channel": "daphne.a!nobody-waits"}, None),
        ({}, None),
    ]
    layer.send_batch([layer.prepare("work", content, headers) for content, headers in waiting])
    assert printed(layers, capsys, "flush", "work", "--yes") == "5 messages removed from work; 2 senders told\n"
    told = layer.receive_batch(["daphne.a!"], limit=10)
    assert [(word.channel, word.headers) for word in told] == [
        ("daphne.a!request", {"turn": 0, "failed": True}),
        ("daphne.a!frame", {"turn": 7, "failed": True}),
    ]
    layer.close()


def test_what_is_sent_meanwhile_stays(tmp_path: Path) -> None:
    _, layer = on_sqlite(tmp_path)
    layer.send_batch([layer.prepare("mail", {"n": n}) for n in range(5)])
    assert empty(layer, "mail", 3) == (3, 0)
    assert layer.receive(["mail"]) == ("mail", {"n": 3})
    layer.close()


def test_a_layer_that_goes_away_leaves_the_number_removed_until_then(tmp_path: Path) -> None:
    class Ending(SqliteChannelLayer):
        def receive_batch(self, *arguments: Any, **options: Any) -> Any:
            if not self.channel_statistics("mail")["messages_pending"] > 50:
                raise LayerUnavailable("here", "it is gone")
            return super().receive_batch(*arguments, **options)

    layer = Ending(tmp_path / "layer.sqlite3")
    layer.send_batch([layer.prepare("mail", {}) for _ in range(BATCH + 50)])
    with pytest.raises(CommandError, match=f"it is gone; until then {BATCH} messages removed") as caught:
        empty(layer, "mail", BATCH + 50)
    assert caught.value.returncode == 3
    layer.close()


def test_a_layer_for_channels_1_can_be_flushed_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, draft = on_draft(tmp_path)
    draft.send("mail", {"n": 1})
    assert printed(layers, capsys, "flush", "mail", "--yes") == "1 message removed from mail\n"
    assert draft.receive(["mail"]) == (None, None)


@pytest.mark.parametrize(
    ("channel", "words"),
    [("no channel", "invalid channel name"), ("daphne.a!x", "channel of one process"), ("daphne.a!", "of one process")],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], channel: str, words: str
) -> None:
    layers, layer = on_sqlite(tmp_path)
    with pytest.raises(CommandError, match=words) as caught:
        printed(layers, capsys, "flush", channel, "--yes")
    assert caught.value.returncode == 2
    layer.close()


def test_a_layer_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="unavailable") as caught:
        printed(away(), capsys, "flush", "mail", "--yes")
    assert caught.value.returncode == 3
