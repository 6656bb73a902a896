"""Layers of Channels 1: what the adapter makes of them beyond the conformance suite."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from channel_layer.draft import ENVELOPE, DraftChannelLayer, adapted, missing
from channel_layer.exceptions import InvalidMessage, LayerConfigurationError, LayerUnavailable, MessageTooLarge
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Fate, fates
from tests.fixtures.draft_layer import FileChannelLayer


class Failing(FileChannelLayer):
    """Fails when asked to, with a text that holds its password."""

    failing = False
    password = "hunter2"

    def send(self, channel: str, message: dict[str, Any]) -> None:
        if self.failing or message.get("fails"):
            raise ConnectionError(f"no way to broker:{self.password}")
        super().send(channel, message)

    def receive(self, channels: list[str], block: bool = False) -> tuple[str | None, dict[str, Any] | None]:
        if self.failing:
            raise ConnectionError(f"no way to broker:{self.password}")
        return super().receive(channels, block)


@pytest.fixture
def draft(tmp_path: Path) -> Failing:
    return Failing(str(tmp_path / "layer"), capacity=2, largest=3000)


@pytest.fixture
def layer(draft: Failing) -> Iterator[DraftChannelLayer]:
    layer = DraftChannelLayer(draft, {"password": "hunter2"})
    yield layer
    layer.close()


def test_messages_lie_on_the_draft_layer_as_they_are(layer: DraftChannelLayer, draft: Failing) -> None:
    layer.send("room", {"text": "hi", "bytes": b"\xff"})
    assert draft.receive(["room"]) == ("room", {"text": "hi", "bytes": b"\xff"})
    layer.send_batch([layer.prepare("room", {"text": "hi"}, {"turn": 1})])
    assert draft.receive(["room"]) == ("room", {"text": "hi", ENVELOPE: {"headers": {"turn": 1}}})
    draft.send("room", {"text": "ho"})
    assert layer.receive(["room"]) == ("room", {"text": "ho"})


@pytest.mark.parametrize("message", ["text", {ENVELOPE: 1}, {ENVELOPE: {"headers": 1}}, {ENVELOPE: {"join": "g"}}])
def test_what_is_no_message_is_passed_over_and_counted(
    layer: DraftChannelLayer, draft: Failing, monkeypatch: pytest.MonkeyPatch, message: Any
) -> None:
    answers = iter([("room", message), ("room", {"n": 1}), (None, None)])
    monkeypatch.setattr(draft, "receive", lambda channels, block: next(answers))
    [delivery] = layer.receive_batch(["room"], limit=5)
    assert delivery.message == {"n": 1}
    assert layer.counters.bad_frames == 1


def test_the_key_of_the_envelope_is_refused(layer: DraftChannelLayer) -> None:
    with pytest.raises(InvalidMessage, match=f"'{ENVELOPE}' is the layer's own"):
        layer.send("room", {ENVELOPE: {"headers": {"turn": 1}}})
    assert layer.receive(["room"]) == (None, None)


def test_a_message_that_the_draft_layer_finds_too_large(
    layer: DraftChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(MessageTooLarge, match="'room'"):
        layer.send("room", {"bytes": b"x" * 3000})
    items = [layer.prepare("room", {"bytes": b"x" * 3000}), layer.prepare("room", {"n": 1})]
    assert layer.send_batch(items) == []
    assert "message for 'room' is too large" in caplog.text
    assert layer.receive(["room"]) == ("room", {"n": 1})


def test_a_failure_in_a_batch_tells_the_fate_of_each_message(layer: DraftChannelLayer, draft: Failing) -> None:
    full = [layer.prepare("full", {"n": n}) for n in range(3)]
    items = [*full, layer.prepare("room", {"fails": True}), layer.prepare("room", {"n": 4})]
    with pytest.raises(LayerUnavailable) as caught:
        layer.send_batch(items)
    assert fates(items, [], caught.value) == [Fate.STORED, Fate.STORED, Fate.FULL, Fate.UNKNOWN, Fate.UNSENT]


def test_a_failure_is_a_layer_that_is_unavailable_and_shows_no_password(
    layer: DraftChannelLayer, draft: Failing
) -> None:
    layer.check()
    draft.failing = True
    for call in (
        layer.check,
        lambda: layer.send("room", {"n": 1}),
        lambda: layer.receive(["room"]),
        lambda: layer.group_add("group", "process!a"),
        lambda: asyncio.run(layer.asend("room", {"n": 1})),
        lambda: asyncio.run(layer.areceive(["room"])),
    ):
        with pytest.raises(LayerUnavailable, match=r"test_draft\.Failing is unavailable: ConnectionError: no way") as e:
            call()
        assert "hunter2" not in str(e.value)


def test_what_was_taken_before_a_failure_is_not_lost(
    layer: DraftChannelLayer, draft: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer.send("room", {"n": 1})
    original = draft.receive

    def then_fail(channels: list[str], block: bool) -> Any:
        found = original(channels)
        draft.failing = True
        return found

    monkeypatch.setattr(draft, "receive", then_fail)
    [delivery] = layer.receive_batch(["room"], limit=5)
    assert delivery.message == {"n": 1}
    with pytest.raises(LayerUnavailable):
        layer.receive_batch(["room"])


def test_what_finds_no_room_to_be_put_back_is_counted_and_logged(
    layer: DraftChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer.send("room", {"n": 1})
    taken = layer.receive_batch(["room"])
    layer.send("room", {"n": 2})
    layer.send("room", {"n": 3})
    layer.put_back("room", taken)
    assert layer.counters.possible_losses == 1
    assert "1 messages of room are lost" in caplog.text


def test_a_full_process_becomes_a_member_nevertheless(layer: DraftChannelLayer) -> None:
    for n in range(2):
        layer.send("process!a", {"n": n})
    layer.group_add("group", "process!a")
    assert layer.group_channels("group") == ["process!a"]


def test_what_an_extension_would_do_is_said_to_be_missing(draft: Failing) -> None:
    draft.extensions = []
    bare = DraftChannelLayer(draft)
    assert bare.extensions == ["async"]
    for call in (
        lambda: bare.group_add("group", "process!a"),
        lambda: bare.group_discard("group", "process!a"),
        lambda: bare.group_channels("group"),
        lambda: bare.send_group("group", {}),
        bare.flush,
    ):
        with pytest.raises(NotImplementedError, match=r"test_draft\.Failing has no extension '(groups|flush)'"):
            call()
    assert bare.global_statistics() == bare.channel_statistics("room") == {}
    asyncio.run(bare.aforget(["process!a"]))


def test_a_cancelled_receive_is_over_when_the_caller_goes_on(
    layer: DraftChannelLayer, draft: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def receive(channels: list[str], block: bool) -> Any:
        asking.set()
        go_on.wait(30)
        ended.set()
        return None, None

    monkeypatch.setattr(draft, "receive", receive)

    async def main() -> None:
        waiting = asyncio.create_task(layer.areceive_batch(["room"], timeout=30))
        await asyncio.to_thread(asking.wait, 10)
        waiting.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await asyncio.wait([waiting])
        assert ended.is_set()

    asyncio.run(main())


def test_a_forked_process_has_threads_of_its_own(layer: DraftChannelLayer, draft: Failing) -> None:
    asyncio.run(layer.asend("room", {"n": 1}))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(asyncio.wait_for(layer.asend("room", {"n": 2}), 10))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [layer.receive(["room"])[1] for _ in range(2)] == [{"n": 1}, {"n": 2}]


def test_closing_leaves_no_thread(layer: DraftChannelLayer) -> None:
    asyncio.run(layer.asend("room", {"n": 1}))
    asyncio.run(layer.areceive(["room"]))
    layer.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("draft-layer")]


def test_what_conforms_is_adapted_and_what_fulfils_the_contract_is_not(draft: Failing) -> None:
    memory = MemoryChannelLayer()
    assert adapted(memory) is memory
    made = adapted(draft)
    assert isinstance(made, DraftChannelLayer)
    assert made.draft is draft
    assert (made.expiry, made.local_only) == (60, False)
    assert made.describe() == "tests.channel_layer.test_draft.Failing, a layer of the ASGI draft"


class Coroutines(Failing):
    async def send(self, channel: str, message: dict[str, Any]) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({"ChannelFull": None}, ["ChannelFull"]),
        ({"extensions": None}, ["extensions"]),
        ({"receive": None, "group_add": None}, ["receive", "group_add"]),
    ],
)
def test_what_a_layer_lacks_is_named(draft: Failing, change: dict[str, Any], lacking: list[str]) -> None:
    for name, value in change.items():
        setattr(draft, name, value)
    assert missing(draft) == lacking
    with pytest.raises(LayerConfigurationError, match=f"test_draft.Failing cannot be used: it lacks {lacking[0]}"):
        adapted(draft)


def test_methods_that_are_coroutines_are_those_of_channels_2(tmp_path: Path) -> None:
    assert missing(Coroutines(str(tmp_path / "layer"))) == ["a send that is not a coroutine"]
