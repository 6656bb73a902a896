"""The layer for the processes of one machine."""

from __future__ import annotations

from typing import Any

from channel_layer.sqlite import SqliteChannelLayer

__all__ = ["IPCChannelLayer"]


class IPCChannelLayer(SqliteChannelLayer):
    """`channel_layer.sqlite.SqliteChannelLayer`, with the arguments of asgi_ipc.

    Args:
        prefix: the ``name`` of the layer.
        channel_memory, group_memory: ignored; the file grows as it has to.
        options: those of the layer.
    """

    def __init__(
        self, prefix: str = "asgi", *, channel_memory: Any = None, group_memory: Any = None, **options: Any
    ) -> None:
        super().__init__(name=prefix, **options)
