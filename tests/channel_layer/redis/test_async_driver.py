from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.async_driver import AsyncDriver
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import ALL, PUSH, Call, plain
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


def test_a_connection_that_was_closed_while_it_was_idle_is_no_possible_loss(redis_url: str) -> None:
    async def main() -> None:
        driver, other = AsyncDriver([Host(redis_url)]), AsyncDriver([Host(redis_url)])
        (mine,) = await driver.run(0, [plain("CLIENT", "ID")])
        await other.run(0, [plain("CLIENT", "KILL", "ID", mine)])
        await _until(lambda: all(not connection.is_open for connection in driver._idle_of(_loop())[0]))
        assert await driver.run(0, [plain("ECHO", "x")]) == [b"x"]
        await driver.close()
        await other.close()

    asyncio.run(main())


def test_a_server_that_does_not_answer_in_time_is_given_up(redis_url: str) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url, {"socket_timeout": 0.2})])
        await driver.run(0, [plain("PING")])
        with pytest.raises(LayerUnavailable, match="no answer in time") as caught:
            await driver.run(0, [plain("BLPOP", "adrv:none", 5)])
        assert caught.value.uncertain
        assert await driver.run(0, [plain("ECHO", "mine")]) == [b"mine"]
        await driver.close()

    asyncio.run(main())


def test_an_answer_to_no_question_ends_the_connection() -> None:
    async def main() -> None:
        clients = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            clients.add(writer)
            while data := await reader.read(65_536):
                if b"SCRIPT" in data:
                    writer.write(b"$0\r\n\r\n" + b"+x\r\n" * len(ALL))
                elif b"ECHO" in data:
                    writer.write(b"+mine\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
                    writer.write(b"+not mine\r\n")
                else:
                    writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
            writer.close()
            await writer.wait_closed()
            clients.discard(writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        driver = AsyncDriver([Host(server.sockets[0].getsockname())])
        assert await driver.run(0, [plain("ECHO", "x")]) == [b"mine"]
        await _until(lambda: all(not connection.is_open for connection in driver._idle_of(_loop())[0]))
        assert await driver.run(0, [plain("ECHO", "x")]) == [b"mine"]
        await driver.close()
        await _until(lambda: not clients)
        server.close()

    asyncio.run(main())


def test_no_calls_are_no_round_trip() -> None:
    driver = AsyncDriver([Host(f"redis://127.0.0.1:{free_port()}/0")])
    assert asyncio.run(driver.run(0, [])) == []


_loop = asyncio.get_running_loop


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the other side's doing, nothing here to wait for
            await asyncio.sleep(0.002)
