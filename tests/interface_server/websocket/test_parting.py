"""A socket that leaves its transport, with what that has not sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from interface_server.websocket.parting import Parting

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
CHUNKS = [b"%06d" % number * 1_000 for number in range(400)]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("written", [0, 1, len(CHUNKS)])
@pytest.mark.parametrize("turns", [0, 3])
def test_what_was_sent_and_what_was_not_make_up_what_was_written(
    loop: Callable[[], asyncio.AbstractEventLoop], written: int, turns: int
) -> None:
    ours, theirs = socket.socketpair()
    sent = b"".join(CHUNKS[:written])

    async def part() -> tuple[bytes, socket.socket]:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        for chunk in CHUNKS[:written]:
            transport.write(chunk)
        for _ in range(turns):
            await asyncio.sleep(0)
        parting = Parting(transport, sent)
        return await parting.unsent(), parting.socket

    with asyncio.Runner(loop_factory=loop) as runner:
        unsent, kept = runner.run(part())
    with kept, theirs:
        theirs.setblocking(False)
        got = b""
        try:
            while data := theirs.recv(1_000_000):
                got += data
        except BlockingIOError:  # it is still open
            pass
        assert got + unsent == sent
        assert bool(unsent) == (written == len(CHUNKS))
        theirs.sendall(b"still open")
        assert kept.recv(100) == b"still open"


@pytest.mark.parametrize("loop", LOOPS)
def test_its_protocol_hears_nothing_of_it(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    heard: list[str] = []

    class Listening(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            heard.append("lost")

    async def part() -> None:
        ours, theirs = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(Listening, ours)
        parting = Parting(transport, b"")
        assert await parting.unsent() == b""
        parting.socket.close()
        theirs.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(part())
    assert heard == []
