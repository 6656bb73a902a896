from __future__ import annotations

import asyncio
from typing import Any

from interface_server.asgi.outbox import Gate, Outbox
from tests.interface_server.helpers import become


def test_events_go_out_one_by_one_in_order_and_their_bytes_are_counted() -> None:
    async def run() -> None:
        outbox, sent, sending = Outbox(), [], []

        async def send(event: dict[str, Any]) -> None:
            assert not sending
            sending.append(1)
            await asyncio.sleep(0)
            sending.pop()
            sent.append(event["n"])

        task = asyncio.create_task(outbox.drain(send, lambda: None))
        for number in range(10):
            outbox.put({"n": number}, 5)
        assert outbox.size == 50
        await become(lambda: outbox.size == 0)
        outbox.put({"n": 10})
        outbox.end()
        outbox.put({"n": 11})
        await task
        assert sent == list(range(11))
        assert outbox.written == 50

    asyncio.run(run())


def test_an_end_may_drop_what_waits() -> None:
    async def run() -> None:
        outbox = Outbox()
        outbox.put({}, 5)
        outbox.end(drop=True)
        await outbox.drain(None, lambda: None)  # type: ignore[arg-type]
        assert outbox.size == 0

    asyncio.run(run())


def test_a_gate_holds_whoever_comes_until_it_is_opened() -> None:
    async def run() -> None:
        gate = Gate()
        await gate.passed()
        gate.close()
        waiting = asyncio.create_task(gate.passed())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.open()
        await waiting

    asyncio.run(run())
