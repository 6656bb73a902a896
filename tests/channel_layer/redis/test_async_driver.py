from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import uvloop
from asgiref.sync import async_to_sync

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis.async_driver import BRIEF_CALLS, AsyncDriver
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import ALL, PUSH, Call, plain
from channel_layer.redis.sync_driver import SyncDriver
from tests.conftest import free_port

from .conftest import open_descriptors


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
        await _until(lambda: all(not connection.is_open for connection in driver._idle_of(_loop()).by_shard[0]))
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
                    writer.write(b":1\r\n$0\r\n\r\n" + b"+x\r\n" * len(ALL))
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
        await _until(lambda: all(not connection.is_open for connection in driver._idle_of(_loop()).by_shard[0]))
        assert await driver.run(0, [plain("ECHO", "x")]) == [b"mine"]
        await driver.close()
        await _until(lambda: not clients)
        server.close()

    asyncio.run(main())


def test_no_calls_are_no_round_trip() -> None:
    driver = AsyncDriver([Host(f"redis://127.0.0.1:{free_port()}/0")])
    assert asyncio.run(driver.run(0, [])) == []


Run = Callable[[Any], Any]


def in_a_runner(work: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def from_sync_code(work: Any) -> None:
    async def wait() -> None:
        await work

    async_to_sync(wait)()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run, in_a_runner, from_sync_code])
def test_connections_are_closed_with_their_event_loop(redis_url: str, run: Run) -> None:
    driver = AsyncDriver([Host(redis_url)])

    async def main() -> None:
        await asyncio.gather(*[driver.run(0, [plain("PING")]) for _ in range(2)])

    run(main())
    gc.collect()
    before = open_descriptors()
    for _ in range(40):
        run(main())
    assert open_descriptors() == before


def test_what_is_sent_while_an_event_loop_ends_keeps_no_connection(redis_url: str) -> None:
    driver = AsyncDriver([Host(redis_url)])
    said: list[Any] = []

    async def speak_at_the_end() -> Any:
        try:
            yield
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            said.extend(await driver.run(0, [plain("ECHO", "farewell")]))

    async def main(keep: list[Any]) -> None:
        keep.append(speak_at_the_end())
        await anext(keep[0])
        await driver.run(0, [plain("PING")])

    before = open_descriptors()
    kept: list[Any] = []
    asyncio.run(main(kept))
    assert said == [b"farewell"]
    assert open_descriptors() == before


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_closed_without_being_ended_in_order_is_let_go_of_with_the_next(
    redis_url: str, eventually: Callable[..., Any]
) -> None:
    drivers = [AsyncDriver([Host(redis_url)])]

    def in_a_loop_just_closed() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(drivers[0].run(0, [plain("PING")]))
        loop.close()
        return weakref.ref(loop)

    def are_collected(*loops: weakref.ref[asyncio.AbstractEventLoop]) -> bool:
        gc.collect()  # which does nothing while another thread collects
        return all(loop() is None for loop in loops)

    first = in_a_loop_just_closed()
    before = open_descriptors()
    *others, last = [in_a_loop_just_closed() for _ in range(20)]
    eventually(lambda: are_collected(first, *others), "the end of the loops")
    assert open_descriptors() <= before
    drivers.clear()  # and with them the last connection, here where its warnings are expected
    eventually(lambda: are_collected(last), "the end of the last loop")


def test_a_loop_may_go_on_after_the_driver_was_closed_there(redis_url: str) -> None:
    driver = AsyncDriver([Host(redis_url)])

    async def main() -> None:
        for _ in range(2):
            first = await driver.run(0, [plain("CLIENT", "ID")])
            assert await driver.run(0, [plain("CLIENT", "ID")]) == first, "it is kept"
            await driver.close()

    before = open_descriptors()
    asyncio.run(main())
    assert open_descriptors() == before


TROUBLES = [
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
    TimeoutError("timed out"),
    ssl.SSLError(1, "[SSL] internal error"),
    EOFError(),
    redis.ConnectionError("Connection closed by server."),
    redis.TimeoutError("Timeout reading from socket"),
    redis.InvalidResponse("Protocol error"),
]


@pytest.mark.parametrize("trouble", [*TROUBLES, None, b"HTTP/1.1 400 Bad Request\r\n", b"-NOAUTH x\r\n"], ids=repr)
def test_nothing_of_the_driver_below_comes_out(redis_url: str, trouble: Exception | bytes | None) -> None:
    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        await driver.run(0, [plain("PING")])
        [connection] = driver._idle_of(_loop()).by_shard[0]
        waiting = asyncio.create_task(driver.run(0, [plain("BLPOP", "adrv:none", 20)]))
        await asyncio.sleep(0)
        if isinstance(trouble, bytes):
            connection.get_buffer(-1)[: len(trouble)] = trouble
            connection.buffer_updated(len(trouble))
        else:
            connection.connection_lost(trouble)
        with pytest.raises(LayerUnavailable) as caught:
            await waiting
        assert caught.value.uncertain
        assert not connection.is_open
        assert await driver.run(0, [plain("ECHO", "mine")]) == [b"mine"]
        await driver.close()

    asyncio.run(main())


@pytest.mark.parametrize("trouble", TROUBLES, ids=repr)
def test_what_fails_while_a_connection_is_opened_has_surely_done_nothing(
    redis_url: str, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(self: Any) -> None:
        raise trouble

    async def main() -> None:
        driver = AsyncDriver([Host(redis_url)])
        with monkeypatch.context() as patch:
            patch.setattr(redis.asyncio.Connection, "connect", connect)
            with pytest.raises(LayerUnavailable) as caught:
                await driver.run(0, [plain("PING")])
        assert not caught.value.uncertain
        assert await driver.run(0, [plain("PING")]) == [b"PONG"]
        await driver.close()

    asyncio.run(main())


_loop = asyncio.get_running_loop


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the other side's doing, nothing here to wait for
            await asyncio.sleep(0.002)


def test_loops_of_few_calls_share_connections_that_stay_open(redis_url: str) -> None:
    host = Host(redis_url)
    driver = AsyncDriver([host], SyncDriver([host]))

    async def ids(calls: int) -> list[object]:
        return [(await driver.run(0, [plain("CLIENT", "ID")]))[0] for _ in range(calls)]

    shared = {found for _ in range(5) for found in asyncio.run(ids(BRIEF_CALLS))}
    assert len(shared) <= 2  # a thread may still be on its way back when the next loop asks
    *brief, own, again = asyncio.run(ids(BRIEF_CALLS + 2))
    assert own == again
    assert own not in {*shared, *brief}
    driver.end_threads()
    driver.hosts[0].outage.close()


def test_a_call_that_blocks_borrows_no_thread(redis_url: str) -> None:
    host = Host(redis_url)
    driver = AsyncDriver([host], SyncDriver([host]))

    async def main() -> None:
        (found,) = await driver.run(0, [plain("CLIENT", "ID")], blocks=True)
        assert await driver.run(0, [plain("CLIENT", "ID")]) == [found]

    asyncio.run(main())


def test_a_borrowed_thread_raises_as_the_loop_does() -> None:
    host = Host(f"redis://127.0.0.1:{free_port()}/0")
    driver = AsyncDriver([host], SyncDriver([host]))
    with pytest.raises(LayerUnavailable) as caught:
        asyncio.run(driver.run(0, [plain("PING")]))
    assert not caught.value.uncertain
    driver.forget()
    host.outage.close()
