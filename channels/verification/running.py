"""A verification from its start to its end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .faults import FAULTS, Fault
from .plan import VerificationError, is_postgres, own_part
from .processes import Broker, Cast
from .report import Outcome

POSTGRES = "PostgreSQL, as a project's database holds more than messages"


def chosen(alias: str, names: Sequence[str], quick: bool, own_redis: bool) -> list[Fault]:
    """The faults to try, in their order.

    Args:
        alias: entry of CHANNEL_LAYERS.
        names: of faults; all of them if empty.
        quick: leave out those that take a minute, unless they are named.
        own_redis: whether there is a Redis server to be broken.

    Raises:
        VerificationError: a fault that is named does not exist, or needs a broker.
    """
    known = {fault.name: fault for fault in FAULTS}
    has_postgres = is_postgres(alias)
    # A database knows whose connections are whose; of the project's Redis servers those of a verification are no part.
    breakable = ["", *(["broker"] if own_redis else []), *(["connections"] if own_redis or has_postgres else [])]
    for name in names:
        if name not in known:
            raise VerificationError(f"there is no fault {name!r}; there are {', '.join(known)}")
        if known[name].breaks not in breakable:
            if has_postgres:
                raise VerificationError(f"the fault {name!r} breaks the broker, which is not done to {POSTGRES}")
            raise VerificationError(f"the fault {name!r} breaks the broker, so it needs --own-redis")
    if names:
        return [fault for fault in FAULTS if fault.name in names]
    return [fault for fault in FAULTS if (fault.quick or not quick) and fault.breaks in breakable]


def left_out(alias: str, faults: Sequence[Fault]) -> str:
    """A sentence about the faults that no option adds to these; empty if there are none."""
    names = [fault.name for fault in FAULTS if fault.breaks == "broker" and fault not in faults]
    if not names or not is_postgres(alias):
        return ""
    return f"Left out: {', '.join(names)}, which break the broker; that is not done to {POSTGRES}."


def verify(
    alias: str,
    faults: Sequence[Fault],
    sockets: int,
    rate: float,
    patience: float,
    own_redis: bool,
    logs: Path | None,
    tell: Callable[[Outcome], None],
) -> list[Outcome]:
    """Try out faults one after the other, with processes of their own.

    Args:
        alias: entry of CHANNEL_LAYERS.
        faults: which.
        sockets: clients of each kind.
        rate: frames a second of each.
        patience: factor by which promised times may be exceeded, on a machine that has other things to do.
        own_redis: whether to use a Redis server of its own.
        logs: directory for the output of the processes; ``None`` if nobody wants it.
        tell: called with each outcome.

    Raises:
        VerificationError: it cannot be run, or a process does not start or stop.
        InvalidChannelLayerError: the entry cannot work.
    """
    outcomes = []
    with _directory(logs) as directory:
        for fault in faults:
            own = directory / fault.name
            own.mkdir(exist_ok=True)
            with ExitStack() as stack:
                broker = Broker(own) if own_redis else None
                if broker is not None:
                    stack.callback(broker.kill)
                part = stack.enter_context(own_part(alias, [broker.url] if broker else None))
                cast = Cast(part.plan, own, broker, broker.cut if broker else part.cut)
                stack.callback(cast.end)
                cast.begin()
                outcome = Outcome(fault, asyncio.run(fault.try_out(cast, sockets, rate, patience)), patience)
            outcomes.append(outcome)
            tell(outcome)
    return outcomes


@contextmanager
def _directory(logs: Path | None) -> Iterator[Path]:
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        yield logs
        return
    directory = Path(tempfile.mkdtemp(prefix="millrace-verify-"))
    yield directory
    shutil.rmtree(directory)  # not after an error, whose text names a file in it
