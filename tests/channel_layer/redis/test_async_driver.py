from __future__ import annotations

import asyncio

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.async_driver import AsyncDriver
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import PUSH, Call, plain
from tests.conftest import free_port


def test_replies_come_in_order_with_errors_among_them(redis_url: str) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        first, error, last = await driver.run(0, [plain("ECHO", "a"), plain("LPUSH"), plain("ECHO", "b")])
        assert (first, last) == (b"a", b"b")
        assert "wrong number of arguments" in str(error)
        await driver.close()

    asyncio.run(main())


def test_calls_at_the_same_time_do_not_get_each_others_answers(redis_url: str) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        answers = await asyncio.gather(*[driver.run(0, [plain("ECHO", str(number))]) for number in range(50)])
        assert answers == [[str(number).encode()] for number in range(50)]
        await driver.close()

    asyncio.run(main())


def test_a_cancelled_call_does_not_leave_its_answer_to_the_next(redis_url: str) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        await driver.run(0, [plain("PING")])
        waiting = asyncio.create_task(driver.run(0, [plain("BLPOP", "adrv:none", 2)]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await driver.run(0, [plain("ECHO", "mine")]) == [b"mine"]
        await driver.close()

    asyncio.run(main())


def test_a_script_that_the_server_forgot_is_sent_in_full(redis_url: str) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        await driver.run(0, [plain("PING")])
        await driver.run(0, [plain("SCRIPT", "FLUSH")])
        call = Call(PUSH, ["adrv:s", "adrv:c", "adrv:sc"], [60_000, 60_000, 10, 1, b"frame"])
        assert await driver.run(0, [plain("ECHO", "x"), call]) == [b"x", None]
        assert (await driver.run(0, [plain("LLEN", "adrv:c"), plain("DEL", "adrv:s", "adrv:c", "adrv:sc")]))[0] == 1
        await driver.close()

    asyncio.run(main())


def test_it_is_known_whether_a_failed_call_may_have_happened(redis_url: str) -> None:
    async def main() -> None:
        nobody = AsyncDriver([Host(f"redis://127.0.0.1:{free_port()}/0")])
        with pytest.raises(LayerUnavailable) as caught:
            await nobody.run(0, [plain("PING")])
        assert not caught.value.uncertain
        driver = AsyncDriver([Host(redis_url)])
        await driver.run(0, [plain("PING")])
        with pytest.raises(LayerUnavailable) as caught:
            await driver.run(0, [plain("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"), plain("PING")])
        assert caught.value.uncertain
        await driver.close()

    asyncio.run(main())


def test_each_event_loop_has_connections_of_its_own(redis_url: str) -> None:
    driver = AsyncDriver([Host(redis_url)])

    async def main() -> None:
        assert await driver.run(0, [plain("ECHO", "x")]) == [b"x"]
        await driver.close()

    asyncio.run(main())
    asyncio.run(main())
