"""Exchanges that the server answers itself."""

from __future__ import annotations

import asyncio
from typing import Any

from interface_server.http.own import OwnExchange
from interface_server.monitoring import Answer


class Writer:
    def __init__(self) -> None:
        self.started: list[tuple[int, bytes, bool]] = []

    def start(self, head: Any, content: bytes, more: bool) -> None:
        self.started.append((head.status, content, more))


def answer() -> Answer:
    return Answer(200, "text/plain", b"ok")


def test_what_is_known_is_answered_at_once() -> None:
    writer = Writer()
    OwnExchange(writer, answer).begin(0)  # type: ignore[arg-type]
    assert writer.started == [(200, b"ok", False)]


def test_what_takes_time_is_made_in_a_thread_and_goes_to_nobody_who_has_left() -> None:
    async def run(leaves: bool) -> list[tuple[int, bytes, bool]]:
        writer = Writer()
        exchange = OwnExchange(writer, answer, asyncio.get_running_loop())  # type: ignore[arg-type]
        exchange.begin(0)
        assert writer.started == []
        if leaves:
            exchange.gone()
        assert exchange._making is not None
        await exchange._making
        await asyncio.sleep(0)
        return writer.started

    assert asyncio.run(run(leaves=False)) == [(200, b"ok", False)]
    assert asyncio.run(run(leaves=True)) == []
