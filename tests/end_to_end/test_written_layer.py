"""The layer of docs/writing-a-layer.md: through the suite, and under a web server and a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from channel_layer.conformance import ConformanceSuite, MakeLayer
from channel_layer.conformance.groups import GroupRules
from channel_layer.conformance.queues import QueueRules
from channel_layer.exceptions import LayerConfigurationError
from tests.end_to_end.processes import ROOT, Project

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(autouse=True)
def on_the_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


class WithFile:
    """How the layers of a test are made; the test moves their clock."""

    elsewhere = {"file": "elsewhere"}

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
        now = [1000.0]

        def wait(seconds: float) -> None:
            now[0] += seconds

        monkeypatch.setattr(self, "wait", wait)
        return lambda: now[0]

    @pytest.fixture
    def make_layer(self, tmp_path: Path, clock: Callable[[], float]) -> MakeLayer:
        from file_layer import FileChannelLayer

        def make(file: str = "here", **options: Any) -> FileChannelLayer:
            layer = FileChannelLayer(str(tmp_path / file), clock=clock, **options)
            layer.index._clock = clock
            return layer

        return make


class TestQueuesAndGroups(WithFile, QueueRules, GroupRules):
    """The parts of the suite that show most in little time."""


@pytest.mark.slow
class TestAll(WithFile, ConformanceSuite):
    """The suite. The layer writes everything with each message, so this takes a minute."""


def test_an_echo_and_a_page_through_real_processes(tmp_path: Path) -> None:
    environment = {
        "LAYER_FILE": str(tmp_path / "layer"),
        "ENDS": str(tmp_path / "ends"),
        "PYTHONPATH": str(EXAMPLES),
    }
    with Project("tests.fixtures.sockets_project", tmp_path, environment, workers=1) as project:
        with connect(f"ws://127.0.0.1:{project.port}/", open_timeout=20, ping_interval=None) as socket:
            for number in range(3):
                socket.send(f"echo {number}")
                assert socket.recv(20) == f"echo {number}"
        project.wait_for_page()
        assert "Traceback" not in project.logs()
        project.stop_workers()


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    from file_layer import FileChannelLayer

    with pytest.raises(LayerConfigurationError, match="'path' is in a directory that does not exist"):
        FileChannelLayer(str(tmp_path / "missing" / "layer"))
