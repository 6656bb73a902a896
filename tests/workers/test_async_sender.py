"""Sending at once from many coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from channel_layer.exceptions import ChannelFull, LayerUnavailable, LayerUnusable
from channel_layer.memory import MemoryChannelLayer
from channel_layer.outcome import Outcome
from workers import batches
from workers.async_sender import AsyncSender


class Recording(MemoryChannelLayer):
    """Keeps what each write held; writes wait while the test holds the gate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.writes: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None

    async def asend_batch(self, items: Any) -> Any:
        self.writes.append([item.target for item in items])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().asend_batch(items)


def item(layer: Any, channel: str, content: bytes = b"") -> Any:
    return layer.prepare(channel, {"content": content})


def test_what_comes_in_one_turn_or_during_a_write_leaves_in_one() -> None:
    async def main() -> list[list[str]]:
        layer = Recording()
        sends = AsyncSender(layer)
        layer.gate.clear()
        first = [asyncio.create_task(sends.send(item(layer, f"a{n}"))) for n in range(20)]
        await asyncio.sleep(0.01)
        second = [asyncio.create_task(sends.send(item(layer, f"b{n}"))) for n in range(20)]
        await asyncio.sleep(0.01)
        layer.gate.set()
        await asyncio.gather(*first, *second)
        return layer.writes

    assert asyncio.run(main()) == [[f"a{n}" for n in range(20)], [f"b{n}" for n in range(20)]]


def test_a_write_has_a_limit_in_bytes_which_one_message_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 250 + 3 * batches.OVERHEAD)

    async def main() -> list[list[str]]:
        layer = Recording()
        sends = AsyncSender(layer)
        await asyncio.gather(*(sends.send(item(layer, name, b"x" * size)) for name, size in
                               (("a", 100), ("b", 100), ("c", 100), ("d", 900), ("e", 1))))  # fmt: skip
        return layer.writes

    assert asyncio.run(main()) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_each_learns_what_became_of_its_own_message() -> None:
    async def main() -> list[Any]:
        layer = Recording(channel_capacity={"full": 1})
        sends = AsyncSender(layer)
        await sends.send(item(layer, "full"))
        return await asyncio.gather(
            sends.send(item(layer, "full")), sends.send(item(layer, "free")), return_exceptions=True
        )

    refused, sent = asyncio.run(main())
    assert (type(refused), refused.channel, sent) == (ChannelFull, "full", None)


def test_each_learns_its_own_part_of_an_error() -> None:
    async def main() -> list[Any]:
        layer = Recording()
        sends = AsyncSender(layer)
        items = [item(layer, name) for name in ("stored", "full", "unsent", "unknown")]
        _, full, unsent, unknown = items
        outcome = Outcome([full], [unsent], [unknown])
        layer.error = LayerUnusable("here", "one of several is away", outcome=outcome, reachable=True)
        return await asyncio.gather(*map(sends.send, items), return_exceptions=True)

    stored, full, unsent, unknown = asyncio.run(main())
    assert stored is None
    assert (type(full), full.channel) == (ChannelFull, "full")
    assert [type(error) for error in (unsent, unknown)] == [LayerUnusable] * 2
    assert [error.uncertain for error in (unsent, unknown)] == [False, True]
    assert str(unsent) == "one of several is away"


def test_an_error_is_everybodys_in_that_write_and_nobodys_after_it() -> None:
    async def main() -> list[Any]:
        layer = Recording()
        sends = AsyncSender(layer)
        layer.error = LayerUnavailable("here", "away")
        failed = await asyncio.gather(*(sends.send(item(layer, name)) for name in ("a", "b")), return_exceptions=True)
        layer.error = None
        await sends.send(item(layer, "c"))
        return failed

    assert [type(error) for error in asyncio.run(main())] == [LayerUnavailable] * 2


def test_what_is_cancelled_while_it_waits_is_not_sent_and_holds_up_nobody() -> None:
    async def main() -> list[list[str]]:
        layer = Recording()
        sends = AsyncSender(layer)
        layer.gate.clear()
        first = asyncio.create_task(sends.send(item(layer, "a")))
        await asyncio.sleep(0.01)
        given_up, last = (asyncio.create_task(sends.send(item(layer, name))) for name in ("b", "c"))
        await asyncio.sleep(0)
        given_up.cancel()
        first.cancel()  # this one is on its way, and so are those behind it
        await asyncio.sleep(0)
        layer.gate.set()
        await last
        return layer.writes

    assert asyncio.run(main()) == [["a"], ["c"]]
