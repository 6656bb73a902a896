"""`channels.worker`: workers as Channels 1 made them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from channels import route
from channels.layers import ChannelLayerWrapper
from channels.worker import Worker, WorkerGroup


@pytest.mark.parametrize(("kind", "threads"), [(Worker, 1), (WorkerGroup, 4)])
def test_it_runs_consumers_and_calls_back(layer: Any, kind: type[WorkerGroup], threads: int) -> None:
    done, seen = threading.Event(), []

    def callback(channel: str, message: Any) -> None:
        seen.append((channel, message["number"]))
        done.set()

    wrapper = ChannelLayerWrapper(layer.channel_layer, "default", [route("a", lambda message: None)])
    worker = kind(wrapper, callback=callback, only_channels=["a"], exclude_channels=["b*"])
    assert (worker.threads, worker.channels, worker.termed) == (threads, ["a"], False)
    thread = threading.Thread(target=worker.run)
    thread.start()
    layer.send("a", {"number": 7})
    assert done.wait(20)
    worker.stop()
    thread.join(20)
    assert worker.termed
    assert seen == [("a", 7)]
