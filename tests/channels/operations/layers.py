"""Settings with layers that are there, away, or without reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from channel_layer.sqlite import SqliteChannelLayer
from tests.conftest import free_port
from tests.fixtures.draft_layer import FileChannelLayer


class BareLayer(SqliteChannelLayer):
    """A layer that keeps no reports."""

    extensions = [name for name in SqliteChannelLayer.extensions if name != "reports"]


def on_sqlite(tmp_path: Path) -> tuple[dict[str, Any], SqliteChannelLayer]:
    """CHANNEL_LAYERS, and the layer that they name."""
    path = tmp_path / "layer.sqlite3"
    entry = {"BACKEND": "channel_layer.sqlite.SqliteChannelLayer", "CONFIG": {"path": str(path)}, "ROUTING": []}
    return {"default": entry}, SqliteChannelLayer(path)


def away() -> dict[str, Any]:
    """CHANNEL_LAYERS with a Redis that nobody has started."""
    config = {"hosts": [f"redis://127.0.0.1:{free_port()}/0"]}
    return {"default": {"BACKEND": "channel_layer.redis.RedisChannelLayer", "CONFIG": config, "ROUTING": []}}


def bare(tmp_path: Path) -> dict[str, Any]:
    """CHANNEL_LAYERS with a layer that keeps no reports."""
    config = {"path": str(tmp_path / "layer.sqlite3")}
    return {"default": {"BACKEND": f"{__name__}.BareLayer", "CONFIG": config, "ROUTING": []}}


def on_draft(tmp_path: Path) -> tuple[dict[str, Any], FileChannelLayer]:
    """CHANNEL_LAYERS with a layer of Channels 1, and that layer."""
    path = str(tmp_path / "draft")
    entry = {"BACKEND": "tests.fixtures.draft_layer.FileChannelLayer", "CONFIG": {"path": path}, "ROUTING": []}
    return {"default": entry}, FileChannelLayer(path)


def printed(layers: dict[str, Any], capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The output of ``manage.py millrace`` with these arguments."""
    capsys.readouterr()
    with override_settings(CHANNEL_LAYERS=layers):
        call_command("millrace", *arguments, no_color=True, skip_checks=True)
    return capsys.readouterr().out
