"""Sentinels: servers that know which of several is the primary of a service."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeAlias

import redis

from ..exceptions import LayerUnavailable, LayerUnusable, clause
from .errors import DRIVER_ERRORS, translate_opening
from .hosts import Host
from .moving_host import ASK_SECONDS, REMEMBER_SECONDS, Address, Kept, answers_to
from .scripts import Reply

DEFAULT_PORT = 26_379

Answer: TypeAlias = "list[Reply] | BaseException"

UNKNOWN_COMMAND = "unknown command"


class Sentinels:
    """The Sentinels of one service.

    Each numbers the failovers that it has heard of. One that was away or held up may still name the old primary, so
    the highest number counts of what they have said last, whichever of them has been asked. Thread-safe.

    Args:
        hosts: the Sentinels.
        service: what they call the primary and its replicas.
    """

    def __init__(self, hosts: Sequence[Host], service: str) -> None:
        self.hosts = hosts
        self.service = service
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked from another."""
        self._lock = threading.Lock()
        self._said: dict[int, tuple[int, float, Address]] = {}
        self._first = 0

    @property
    def primary(self) -> Address | None:
        """The primary, going by what was said until now."""
        with self._lock:
            oldest = time.monotonic() - REMEMBER_SECONDS
            heard = [said for said in self._said.values() if said[1] >= oldest] or list(self._said.values())
        return max(heard)[2] if heard else None

    def ask(self, connections: Kept | None = None) -> Address:
        """Ask one Sentinel after the other until one answers, and return the primary.

        Args:
            connections: kept from one call to the next, by Sentinel; without it each is closed.

        Raises:
            LayerUnavailable: none answers.
            LayerUnusable: those that answer refuse us, or know no such service.
        """
        search = self._search()
        answer: Answer | None = None
        while True:
            try:
                index = next(search) if answer is None else search.send(answer)
            except StopIteration as end:
                primary: Address = end.value
                return primary
            answer = self._ask(index, connections)

    async def aask(self) -> Address:
        """Async form of `ask`."""
        search = self._search()
        answer: Answer | None = None
        while True:
            try:
                index = next(search) if answer is None else search.send(answer)
            except StopIteration as end:
                primary: Address = end.value
                return primary
            answer = await self._aask(index)

    def turn(self) -> None:
        """Begin with another Sentinel the next time."""
        with self._lock:
            self._first = (self._first + 1) % len(self.hosts)

    def _search(self) -> Generator[int, Answer, Address]:
        failures: list[LayerUnavailable] = []
        first = self._first
        for index in [*range(first, len(self.hosts)), *range(first)]:
            answer = yield index
            where = self.hosts[index].name
            if isinstance(answer, BaseException):
                failures.append(_failure(answer, where))
                continue
            try:
                self._learn(index, answer)
            except LayerUnavailable as error:
                failures.append(error)
                continue
            with self._lock:
                self._first = index
            primary = self.primary
            assert primary is not None
            return primary
        for failure in failures:
            if isinstance(failure, LayerUnusable):
                raise failure
        reasons = "; ".join(f"{failure.where}: {clause(failure.reason)}" for failure in failures)
        raise LayerUnavailable(
            f"service {self.service!r}", f"none of its Sentinels answers ({reasons})", uncertain=False
        ) from failures[-1]

    def _learn(self, index: int, answer: list[Reply]) -> None:
        """Take down what a Sentinel has said."""
        where = self.hosts[index].name
        address, facts = answer
        for reply in answer:
            if isinstance(reply, Exception) and "No such master" not in str(reply):
                raise _failure(reply, where)
        if address is None or isinstance(facts, Exception):
            raise LayerUnusable(
                where,
                f"The Sentinel at {where} watches no service {self.service!r}. Give the name that stands behind "
                "'sentinel monitor' in its configuration.",
                uncertain=False,
            )
        known = facts if isinstance(facts, Mapping) else dict(zip(facts[::2], facts[1::2], strict=True))
        with self._lock:
            self._said[index] = (int(known[b"config-epoch"]), time.monotonic(), (address[0].decode(), int(address[1])))

    def _questions(self) -> tuple[tuple[str, str, str], ...]:
        # The first knows a new primary while the second still waits for all replicas to follow it.
        return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service), ("SENTINEL", "MASTER", self.service)

    def _ask(self, index: int, connections: Kept | None) -> Answer:
        try:
            return answers_to(self._questions(), self.hosts[index].connect_sync, connections, index)
        except DRIVER_ERRORS as error:
            return error

    async def _aask(self, index: int) -> Answer:
        connection: Any = self.hosts[index].connect_async()
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await connection.connect()
                for words in self._questions():
                    await connection.send_command(*words)
                for _ in self._questions():
                    try:
                        replies.append(await connection.read_response())
                    except redis.ResponseError as error:
                        replies.append(error)
        except DRIVER_ERRORS as error:
            return error
        finally:
            await connection.disconnect(nowait=True)
        return replies


def _failure(error: BaseException, where: str) -> LayerUnavailable:
    """The exception for a Sentinel that does not say which server is the primary."""
    if UNKNOWN_COMMAND in str(error).lower():
        return LayerUnusable(
            where,
            f"Redis at {where} is not a Sentinel. Give the addresses of Sentinels, "
            "or put the server into 'hosts' without naming a service.",
            uncertain=False,
        )
    if isinstance(error, redis.AuthenticationError):
        return LayerUnusable(
            where,
            f"The Sentinel at {where} refuses us: {clause(error)}. "
            "Check user and password of the Sentinels in 'sentinel_kwargs'.",
            uncertain=False,
        )
    if isinstance(error, redis.exceptions.NoPermissionError):
        return LayerUnusable(
            where,
            f"The Sentinel at {where} refuses us: {clause(error)}. Allow its user "
            "+sentinel|get-master-addr-by-name and +sentinel|master.",
            uncertain=False,
        )
    return translate_opening(error, where, None)
