"""The faults of a verification, each with what is promised for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .load import Load, Tally
from .processes import Cast, Process

CALM_SECONDS = 2.0
"""Load before a fault, and after it."""

FROZEN_SECONDS = 4.0
"""Time for which a process is held up: longer than workers and servers need to become doubtful of each other."""

AWAY_SECONDS = 2.0
"""Time for which a broker is away."""


@dataclass(frozen=True)
class Promise:
    """Limits within which the outcome of a fault is to be.

    Attributes:
        lost: most frames and messages to the group that are lost, for each client.
        closes: whether connections may be closed.
        fails: whether requests may go unanswered or get 503.
        seconds: longest wait for an answer.
        settles: time within which the last answer, and news of the last connection that left, has to come.
        forgets: whether instances may lose what they had counted.
    """

    lost: int = 0
    closes: bool = False
    fails: bool = False
    seconds: float = 2.0
    settles: float = 10.0
    forgets: bool = False

    def broken_by(self, tally: Tally, patience: float) -> list[str]:
        """Name what is not as promised; times may be ``patience`` times as long."""
        seconds = self.seconds * patience
        lost = self.lost * tally.clients
        untold, _, often = tally.left
        failed = sum(count for status, count in tally.pages.items() if status != 200)
        found = [
            (tally.lost > lost, f"{tally.lost} lost, at most {lost} are promised"),
            (tally.doubled > 0, f"{tally.doubled} came twice"),
            (tally.reordered > 0, f"{tally.reordered} came out of order"),
            (tally.forgotten > 0 and not self.forgets, f"{tally.forgotten} instances lost their state"),
            (sum(tally.closed.values()) > 0 and not self.closes, f"{sum(tally.closed.values())} WebSockets closed"),
            (failed > 0 and not self.fails, f"{failed} requests failed"),
            (
                tally.pause > seconds,
                f"{tally.pause:.1f} s without an answer, at most {seconds:g} s are promised",
            ),
            (untold > 0, f"consumers were not told of {untold} WebSockets that left"),
            (often > 0, f"consumers were told of {often} WebSockets more than once"),
        ]
        return [text for is_so, text in found if is_so]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: for ``--only``, and in reports.
        text: a line that says what is done.
        cause: does it, and returns when the processes are as many as before.
        promise: see `Promise`.
        quick: whether it is part of ``--quick``.
        breaks: ``"broker"`` if it needs a broker that may be broken, ``"connections"`` if connections to it that may be
            cut, else nothing.
    """

    name: str
    text: str
    cause: Callable[[Cast], Awaitable[None]]
    promise: Promise = field(default_factory=Promise)
    quick: bool = True
    breaks: str = ""

    async def try_out(self, cast: Cast, sockets: int, rate: float, patience: float) -> Tally:
        """Cause it under load; returns what became of the load. It may take ``patience`` times as long as promised."""
        settles = self.promise.settles * patience
        async with Load(list(cast.webs), sockets, rate) as load:
            await asyncio.sleep(CALM_SECONDS)
            await self.cause(cast)
            await asyncio.sleep(CALM_SECONDS)
            await load.finish(settles)
            await load.hear_of_leavers(settles)
            return load.tally()


async def _nothing(cast: Cast) -> None:
    await asyncio.sleep(CALM_SECONDS)


async def _ready(process: Process, text: str) -> None:
    await asyncio.to_thread(process.wait_for, text)


async def _new_worker(cast: Cast) -> None:
    await _ready(cast.start_worker(), "it listens on")


async def _restart_worker(cast: Cast) -> None:
    await asyncio.to_thread(cast.workers.pop(0).stop)
    await _new_worker(cast)


async def _restart_all_workers(cast: Cast) -> None:
    old, cast.workers = cast.workers, []
    await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in old))
    await asyncio.gather(*(_new_worker(cast) for _ in old))


async def _kill_worker(cast: Cast) -> None:
    cast.workers.pop(0).kill()
    await _new_worker(cast)


async def _freeze(process: Process) -> None:
    process.send(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_SECONDS)
    process.send(signal.SIGCONT)


async def _freeze_worker(cast: Cast) -> None:
    await _freeze(cast.workers[0])


async def _restart_web(cast: Cast) -> None:
    port, web = next(iter(cast.webs.items()))
    await asyncio.to_thread(web.stop)
    await _ready(cast.start_web(port), "Listening on")


async def _kill_web(cast: Cast) -> None:
    port, web = next(iter(cast.webs.items()))
    web.kill()
    await _ready(cast.start_web(port), "Listening on")


async def _freeze_web(cast: Cast) -> None:
    await _freeze(next(iter(cast.webs.values())))


async def _restart_broker(cast: Cast) -> None:
    assert cast.broker is not None
    cast.broker.kill()
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(cast.broker.start)


async def _freeze_broker(cast: Cast) -> None:
    assert cast.broker is not None
    cast.broker.send(signal.SIGSTOP)
    await asyncio.sleep(AWAY_SECONDS)
    cast.broker.send(signal.SIGCONT)


async def _cut_broker(cast: Cast) -> None:
    assert cast.cut is not None
    await asyncio.to_thread(cast.cut)


FAULTS = [
    Fault("none", "nothing is done", _nothing),
    Fault("restart-worker", "a worker is stopped (SIGTERM) and another started", _restart_worker),
    Fault(
        "restart-all-workers",
        "all workers are stopped (SIGTERM), then others started",
        _restart_all_workers,
        Promise(seconds=30, settles=30),
    ),
    Fault(
        "kill-worker",
        "a worker is killed (SIGKILL) and another started",
        _kill_worker,
        # What it had in hand; a turn whose worker died ends after --turn-timeout, 30 s.
        Promise(lost=1, seconds=40, settles=45, fails=True, forgets=True),
    ),
    Fault("freeze-worker", f"a worker is held up for {FROZEN_SECONDS:g} s", _freeze_worker, Promise(seconds=8)),
    Fault(
        "restart-web",
        "a web server is stopped (SIGTERM) and started again",
        _restart_web,
        Promise(closes=True, fails=True, seconds=5),
    ),
    Fault(
        "kill-web",
        "a web server is killed (SIGKILL) and started again",
        _kill_web,
        Promise(closes=True, fails=True, seconds=5, settles=75),
        quick=False,
    ),
    Fault("freeze-web", f"a web server is held up for {FROZEN_SECONDS:g} s", _freeze_web, Promise(seconds=8)),
    Fault(
        "restart-broker",
        f"the broker is killed, and back and empty after {AWAY_SECONDS:g} s",
        _restart_broker,
        # What was in it, and messages to members that were not back yet.
        Promise(lost=4, fails=True, seconds=40, settles=45),
        quick=False,
        breaks="broker",
    ),
    Fault(
        "freeze-broker",
        f"the broker is held up for {AWAY_SECONDS:g} s",
        _freeze_broker,
        Promise(fails=True, seconds=8),
        breaks="broker",
    ),
    Fault(
        "cut-broker",
        "all connections to the broker are cut",
        _cut_broker,
        # What was on its way; nothing is sent a second time.
        Promise(lost=1, fails=True, seconds=40, settles=45),
        breaks="connections",
    ),
]
"""All of them, in the order in which they are tried."""
