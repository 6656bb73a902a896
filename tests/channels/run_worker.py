"""``manage.py runworker`` as a process, over a SQLite layer that the test has, too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from channel_layer.sqlite import SqliteChannelLayer
from tests.end_to_end.processes import Service


class RunWorker(Service):
    """One ``runworker``, with the settings of these tests.

    Args:
        directory: for its log, its layer and its database.
        arguments: of the command.

    Attributes:
        layer: the one that it serves.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        file = directory / "layer.sqlite3"
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.channels.settings",
            "TEST_DATABASE": str(directory / "database.sqlite3"),
            "TEST_CHANNEL_FILE": str(file),
        }
        super().__init__("runworker", [sys.executable, "-m", "django", "runworker", *arguments], environment, directory)
        self.layer = SqliteChannelLayer(path=file)

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self.layer.close()

    def ping(self) -> int | None:
        """The id of the process that answers, ``None`` if none does for a while."""
        assert self.running
        reply = self.layer.new_channel("test?")
        self.layer.send("ping", {"reply_channel": reply})
        name, content = self.layer.receive([reply], block=True)
        return None if name is None or content is None else int(content["process"])
