"""``manage.py millrace tail``."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.memory import MemoryChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from channels.operations import tail as module
from channels.operations.tail import MOST, Tail
from tests.channels.operations.layers import away, on_draft, on_sqlite, printed


@pytest.fixture
def layer() -> MemoryChannelLayer:
    return MemoryChannelLayer()


def seen(tail: Tail) -> list[Any]:
    return [waiting.message and waiting.message["n"] for waiting in tail.look()]


def test_news_are_shown_once_and_stay(layer: MemoryChannelLayer) -> None:
    layer.send("mail", {"n": 0})
    tail = Tail(layer, "mail")
    assert seen(tail) == []
    for n in (1, 2):
        layer.send("mail", {"n": n})
    assert seen(tail) == [1, 2]
    assert seen(tail) == []
    layer.send("mail", {"n": 3})
    assert seen(tail) == [3]
    assert (tail.unseen, layer.channel_statistics("mail")["messages_pending"]) == (0, 4)


def test_what_is_taken_between_two_looks_is_counted(layer: MemoryChannelLayer) -> None:
    tail = Tail(layer, "mail")
    for n in range(5):
        layer.send("mail", {"n": n})
    layer.receive_batch(["mail"], limit=3)
    assert (seen(tail), tail.unseen) == ([3, 4], 3)
    layer.send("mail", {"n": 5})
    layer.receive_batch(["mail"], limit=10)
    assert (seen(tail), tail.unseen) == ([], 4)


def test_more_than_one_look_shows_is_counted(layer: MemoryChannelLayer) -> None:
    tail = Tail(layer, "mail")
    for n in range(MOST + 3):
        layer.send("mail", {"n": n})
    assert (seen(tail), tail.unseen) == (list(range(3, MOST + 3)), 3)


def test_what_is_put_back_is_not_shown_again(layer: MemoryChannelLayer) -> None:
    tail = Tail(layer, "mail")
    layer.send("mail", {"n": 1})
    assert seen(tail) == [1]
    layer.put_back("mail", layer.receive_batch(["mail"]))
    layer.send("mail", {"n": 2})
    assert (seen(tail), tail.unseen) == ([2], 0)


def test_statistics_that_begin_anew_do_no_harm(layer: MemoryChannelLayer) -> None:
    for n in range(5):
        layer.send("mail", {"n": n})
    tail = Tail(layer, "mail")
    layer.flush()
    layer.send("mail", {"n": 5})
    assert (seen(tail), tail.unseen) == ([5], 0)


def test_of_a_process_the_messages_for_one_connection_are_shown(layer: MemoryChannelLayer) -> None:
    tail = Tail(layer, "daphne.a!one")
    layer.send("daphne.a!one", {"n": 1})
    layer.send("daphne.a!two", {"n": 2})
    layer.group_add("team", "daphne.a!one")
    layer.send_group("team", {"n": 3})
    assert (seen(tail), tail.unseen) == ([1, 3], 0)
    assert seen(tail) == []


def followed(
    layers: dict[str, Any], layer: SqliteChannelLayer, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> list[str]:
    """Lines of a tail during which one message has gone before the look and one stays, until Ctrl-C."""
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt
        layer.send("mail", {"n": 1})
        layer.receive_batch(["mail"], limit=9)
        layer.send("mail", {"n": 2, "text": "secret"})

    monkeypatch.setattr(module, "pause", pause)
    out = io.StringIO()
    with override_settings(CHANNEL_LAYERS=layers):
        call_command("millrace", "tail", "mail", *arguments, no_color=True, skip_checks=True, stdout=out)
    assert max(pauses) <= 0.2
    return out.getvalue().splitlines()


def test_it_follows_until_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, layer = on_sqlite(tmp_path)
    first, count, second, more, *rest = followed(layers, layer, monkeypatch)
    layer.close()
    assert first.split("  ")[1].endswith("bytes, {n: int, text: text of 6}")
    assert second[:2].isdigit()
    assert (count, more) == ("1 message came and went between two looks",) * 2
    assert "".join(rest) == ""


def test_machines_get_a_line_for_each_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, layer = on_sqlite(tmp_path)
    lines = followed(layers, layer, monkeypatch, "--json", "--content")
    layer.close()
    found = [json.loads(line) for line in lines if line]
    assert [item.get("content") or item for item in found] == [
        {"n": 2, "text": "secret"}, {"unseen": 1}, {"n": 2, "text": "secret"}, {"unseen": 2},
    ]  # fmt: skip
    assert abs(found[0]["at"] - time.time()) < 60


def test_it_ends_by_itself_if_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers, layer = on_sqlite(tmp_path)
    assert printed(layers, capsys, "tail", "mail", "--seconds", "0.3") == ""
    layer.close()


@pytest.mark.parametrize("name", ["no channel", "!"])
def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    layers, layer = on_sqlite(tmp_path)
    with pytest.raises(CommandError, match="invalid channel name") as caught:
        printed(layers, capsys, "tail", name)
    assert caught.value.returncode == 2
    layer.close()


def test_a_layer_for_channels_1_cannot_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="cannot be looked into"):
        printed(on_draft(tmp_path)[0], capsys, "tail", "mail")


def test_a_layer_that_is_away_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="unavailable") as caught:
        printed(away(), capsys, "tail", "mail")
    assert caught.value.returncode == 3
