"""What the base class does for every layer."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.layer import ChannelLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.sqlite import SqliteChannelLayer
from tests.conftest import wait_until


@pytest.mark.parametrize("option", ["expiry", "group_expiry", "max_message_size"])
@pytest.mark.parametrize("value", [0, -1, "60", None, True, math.nan])
def test_an_option_that_cannot_work_is_refused_with_its_name(option: str, value: Any) -> None:
    with pytest.raises(LayerConfigurationError, match=f"{option} must be a number above 0"):
        MemoryChannelLayer(**{option: value})


def test_defaults_are_those_of_the_documentation() -> None:
    layer = MemoryChannelLayer()
    assert (layer.expiry, layer.group_expiry, layer.max_message_size) == (60, 86_400, 1_310_720)
    assert layer.capacity.of("room") == 10_000


@pytest.fixture(params=["memory", "sqlite"])
def layer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChannelLayer]:
    made = MemoryChannelLayer() if request.param == "memory" else SqliteChannelLayer(tmp_path / "layer.sqlite3")
    yield made
    made.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's account of descriptors")
def test_threads_and_event_loops_that_end_leave_nothing_behind(layer: ChannelLayer) -> None:
    def in_thread() -> None:
        layer.send("room", {"n": 1})
        layer.receive_batch(["room", "never"], timeout=0.001)
        layer.receive_batch(["never"], timeout=0.001)

    async def in_loop() -> None:
        await layer.asend("room", {"n": 1})
        await layer.agroup_add("group", "room")
        await layer.asend_group("group", {"n": 2})
        await layer.areceive_batch(["room"], limit=2, timeout=1)
        waiting = asyncio.create_task(layer.areceive_batch(["never"], timeout=60))
        await asyncio.sleep(0)
        waiting.get_loop().call_soon(waiting.cancel)
        await asyncio.gather(waiting, return_exceptions=True)

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    def use() -> None:
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        asyncio.run(in_loop())

    use()
    before = held()
    for _ in range(200):
        use()
    # What ended last may take a moment: the layers' own threads stop once nobody waits.
    wait_until(lambda: held()[0] <= before[0] + 3, "the descriptors to be closed")
    wait_until(lambda: held()[1] <= before[1] + 1, "the threads to end")


def test_preparing_does_no_sending() -> None:
    layer = MemoryChannelLayer()
    item = layer.prepare("room", {"n": 1}, {"turn": 1})
    assert (item.target, item.headers, item.group) == ("room", {"turn": 1}, False)
    assert layer.receive(["room"]) == (None, None)


def test_the_single_form_hands_out_waiting_copies_only_to_who_asks_for_that_channel() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("group", "process!a")
    layer.group_add("group", "process!b")
    layer.send_group("group", {"n": 1})
    layer.send("room", {"n": 2})
    first = layer.receive(["process!"])
    assert layer.receive(["room"]) == ("room", {"n": 2})
    second = layer.receive(["process!"])
    assert {first[0], second[0]} == {"process!a", "process!b"}
    assert layer.receive(["process!"]) == (None, None)


def test_a_flush_removes_copies_that_wait() -> None:
    layer = MemoryChannelLayer()
    layer.group_add("group", "process!a")
    layer.group_add("group", "process!b")
    layer.send_group("group", {"n": 1})
    layer.receive(["process!"])
    layer.flush()
    assert layer.receive(["process!"]) == (None, None)


def test_counters_start_at_zero_and_belong_to_one_layer() -> None:
    one, other = MemoryChannelLayer(), MemoryChannelLayer()
    one.counters.expired += 1
    assert vars(other.counters) == {"expired": 0, "bad_frames": 0, "possible_losses": 0, "group_full": 0}


def test_a_server_that_takes_it_for_an_application_is_told_what_it_is() -> None:
    sent: list[dict[str, str]] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message)

    layer = MemoryChannelLayer()
    asyncio.run(layer({"type": "lifespan"}, receive, send))
    [failed] = sent
    assert failed["type"] == "lifespan.startup.failed"
    assert "daphne project.asgi:channel_layer" in failed["message"]
    with pytest.raises(TypeError, match="no ASGI application"):
        asyncio.run(layer({"type": "http"}, receive, send))
