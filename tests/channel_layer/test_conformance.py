"""The public suite on the layers that need no server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.sqlite import SqliteChannelLayer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestMemory(ConformanceSuite):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture(autouse=True)
    def moves_time(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        def wait(seconds: float) -> None:
            clock.now += seconds

        monkeypatch.setattr(self, "wait", wait)

    @pytest.fixture
    def make_layer(self, clock: Clock) -> MakeLayer:
        made: list[MemoryChannelLayer] = []

        def make(**options: object) -> MemoryChannelLayer:
            if not made:
                made.append(MemoryChannelLayer(clock=clock, **options))
            return made[0]

        return make


class TestSqlite(ConformanceSuite):
    elsewhere = {"file": "elsewhere.sqlite3"}

    @pytest.fixture
    def make_layer(self, tmp_path: Path) -> Iterator[MakeLayer]:
        made: list[SqliteChannelLayer] = []

        def make(file: str = "here.sqlite3", **options: object) -> SqliteChannelLayer:
            made.append(SqliteChannelLayer(tmp_path / file, **options))
            return made[-1]

        yield make
        for layer in made:
            layer.close()
