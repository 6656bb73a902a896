"""The order of one socket's frames while workers are killed, away and started again, as real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from websockets.sync.client import connect

from channel_layer.redis import RedisChannelLayer
from tests.conftest import wait_until
from tests.end_to_end.processes import Project

TURN_TIMEOUT = 2


def test_frames_run_one_at_a_time_whether_their_worker_is_killed_or_none_is_there(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    url, runs = new_database(), tmp_path / "runs"
    layer = RedisChannelLayer(hosts=[url])
    project = Project("tests.fixtures.sockets_project", tmp_path, {"REDIS_URL": url, "ENDS": str(runs)}, workers=2)
    project.web.command += ["--turn-timeout", str(TURN_TIMEOUT)]

    def events(count: int) -> list[list[str]]:
        lines = runs.read_text().splitlines() if runs.exists() else []
        found = [line.split() for line in lines if line.startswith(("begin", "end"))]
        return found if len(found) >= count else []

    with project, connect(f"ws://127.0.0.1:{project.port}/work/") as client:
        with connect(f"ws://127.0.0.1:{project.port}/hop/") as hopping:
            for number in range(1, 6):  # its session is there one hop further, on whichever worker
                hopping.send("x")
                assert hopping.recv(60) == f"{number} {number}"
        for seconds in ("600", "0.3", "0.2", "0.1"):
            client.send(seconds)
        wait_until(lambda: events(1), "the first frame to be begun")
        for worker in project.workers:
            worker.kill()
        # Its turn ends, and the next one waits for a worker for longer than a turn may take.
        wait_until(lambda: layer.channel_statistics("websocket.receive")["messages_pending"], "the second frame")
        wait_until(
            lambda: layer.channel_statistics("websocket.receive")["messages_max_age"] > TURN_TIMEOUT + 1.5,
            "the second frame to have waited",
        )
        project.start_workers()
        lines = wait_until(lambda: events(7), f"all frames to be run\n{project.logs()}")
        assert [line[:2] for line in lines] == [
            ["begin", "600"],
            *[[word, seconds] for seconds in ("0.3", "0.2", "0.1") for word in ("begin", "end")],
        ]
        project.wait_to_say("turn 2 of the WebSocket /work/: its consumer did not finish in time, and the worker")
    layer.close()
