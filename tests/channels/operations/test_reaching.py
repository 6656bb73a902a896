"""A layer for a subcommand."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.exceptions import ChannelFull, InvalidName, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channels.operations import reaching
from channels.operations.overview import overview
from channels.operations.reaching import in_time, need, reached
from tests.channels.operations.conftest import ANSWER_SECONDS
from tests.channels.operations.layers import on_sqlite


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "ANSWER_SECONDS", 0.1)


@pytest.mark.usefixtures("little_time")
def test_a_layer_that_says_nothing_is_away_in_time() -> None:
    assert ANSWER_SECONDS < 2
    layer, end = MemoryChannelLayer(), threading.Event()
    began = time.monotonic()
    try:
        with pytest.raises(LayerUnavailable, match="does not answer within 2 seconds"):
            in_time(layer, lambda: end.wait(60))
        assert time.monotonic() - began < 30  # on a machine that is busy with other things
    finally:
        end.set()


@pytest.mark.usefixtures("little_time")
def test_an_overview_of_a_layer_that_says_nothing_says_that_it_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, end = MemoryChannelLayer(), threading.Event()
    monkeypatch.setattr(layer, "reports", lambda: end.wait(60))
    try:
        assert "does not answer" in overview(layer).away
    finally:
        end.set()


def test_what_a_layer_answers_or_raises_comes_through() -> None:
    layer = MemoryChannelLayer()
    assert in_time(layer, layer.reports) == []
    with pytest.raises(InvalidName):
        in_time(layer, lambda: layer.peek("no channel"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LayerUnavailable("here", "it is gone."), 3),
        (ChannelFull("mail"), 1),
        (InvalidName("channel", "x y", "no"), 2),
    ],
)
def test_an_error_of_a_layer_is_a_sentence_with_a_status(tmp_path: Path, error: Exception, status: int) -> None:
    layers, layer = on_sqlite(tmp_path)
    layer.close()
    with override_settings(CHANNEL_LAYERS=layers), pytest.raises(CommandError) as caught, reached("default"):
        raise error
    assert caught.value.returncode == status
    assert not str(caught.value).endswith(".")


def test_what_a_layer_lacks_is_named() -> None:
    layer = MemoryChannelLayer()
    need(layer, "inspection", "fly")
    with pytest.raises(CommandError, match=r"cannot fly \(it lacks the extension 'wings'\)"):
        need(layer, "wings", "fly")
