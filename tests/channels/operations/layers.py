"""Settings with layers that are there, away, or without reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from channel_layer.sqlite import SqliteChannelLayer
from tests.conftest import free_port


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
