"""A layer that somebody wrote for Channels 1 carries a project: web server and worker as real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.conftest import wait_until
from tests.end_to_end.processes import Project
from tests.fixtures.draft_layer import FileChannelLayer

pytestmark = pytest.mark.slow

PACKAGE = "tests.fixtures.draft_project"


def test_pages_sockets_groups_and_a_deploy_of_the_worker(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    layer = FileChannelLayer(str(tmp_path / "layer"))
    environment = {"DRAFT_FILE": str(layer.path), "ENDS": str(ends)}
    with Project(PACKAGE, tmp_path, environment, workers=1) as project:
        address = f"ws://127.0.0.1:{project.port}"
        with connect(f"{address}/hop/") as one, connect(f"{address}/", open_timeout=20) as other:
            one.send("state goes along")
            assert one.recv(60) == "1 1"
            project.stop_workers()
            for number in range(5):
                other.send(f"frame {number}")
            project.start_workers()
            assert [other.recv(60) for _ in range(5)] == [f"frame {number}" for number in range(5)]
            one.send("and is still there")
            assert one.recv(60) == "2 2"
            wait_until(lambda: len(layer.group_channels("everybody")) == 2, "both to be in the group")
            layer.send_group("everybody", {"text": "from a program that knows only the draft"})
            for socket in (one, other):
                assert socket.recv(60) == "from a program that knows only the draft"
        wait_until(lambda: ends.exists() and ends.read_text().count("\n") == 2, "the ends of both sockets")
        wait_until(lambda: layer.group_channels("everybody") == [], "both to have left the group")
