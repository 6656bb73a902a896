"""`asgi_ipc`: the name that applications for Channels 1 import."""

from __future__ import annotations

from pathlib import Path

import pytest

import asgi_ipc
from channel_layer.sqlite import SqliteChannelLayer


def test_it_is_the_sqlite_layer_with_other_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channel_layer.sqlite.layer.default_path", lambda name: tmp_path / f"{name}.sqlite3")
    layer = asgi_ipc.IPCChannelLayer("mine", channel_memory=1_000, group_memory=1_000, capacity=5)
    assert isinstance(layer, SqliteChannelLayer)
    assert layer.path == tmp_path / "mine.sqlite3"
    layer.close()
