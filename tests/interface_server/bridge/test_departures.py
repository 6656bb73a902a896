from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge import departures
from interface_server.bridge.departures import Departures
from tests.interface_server.fakes import RecordingUplink
from tests.interface_server.helpers import become

MEMBERS = ["daphne.a!1", "daphne.a!2", "daphne.a!3"]


class Refusing(MemoryChannelLayer):
    """Fails in the given way when it is asked to forget."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def aforget(self, channels: Collection[str]) -> None:
        raise self._error


def with_members() -> MemoryChannelLayer:
    layer = MemoryChannelLayer()
    for member in MEMBERS:
        layer.group_add("g", member)
    return layer


def test_what_left_is_soon_in_no_group_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "PAUSE_SECONDS", 0.01)
    layer = with_members()

    async def run() -> None:
        gone = Departures(layer, RecordingUplink())
        task = asyncio.create_task(gone.run())
        gone.add(MEMBERS[:1])
        await become(lambda: set(layer.group_channels("g")) == set(MEMBERS[1:]))
        gone.add(MEMBERS[1:2])
        await become(lambda: set(layer.group_channels("g")) == set(MEMBERS[2:]))
        task.cancel()

    asyncio.run(run())


def test_while_the_layer_is_away_they_wait() -> None:
    layer, uplink = with_members(), RecordingUplink()

    async def run() -> None:
        gone = Departures(layer, uplink)
        gone.add(MEMBERS[:2])
        uplink.down = LayerUnavailable("here", "gone")
        await gone.sweep()
        assert set(layer.group_channels("g")) == set(MEMBERS)
        uplink.down = None
        await gone.sweep()
        assert set(layer.group_channels("g")) == {MEMBERS[2]}

    asyncio.run(run())


@pytest.mark.parametrize("error", [LayerUnavailable("here", "gone"), RuntimeError("a fault")])
def test_a_layer_that_fails_ends_nothing_and_is_not_asked_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        gone = Departures(Refusing(error), RecordingUplink())
        gone.add(MEMBERS)
        await gone.sweep()
        await gone.sweep()

    asyncio.run(run())
    [text] = caplog.messages
    assert text.endswith("they expire there")
