from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from tests.conftest import wait_until
from workers.stop_signals import STOP_SIGNALS, handling_stop_signals

seen: list[int] = []


def note(number: int, frame: FrameType | None) -> None:
    seen.append(number)


def test_both_signals_are_handled_inside_the_block_and_as_before_behind_it() -> None:
    seen.clear()
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    try:
        with handling_stop_signals(note):
            for number in STOP_SIGNALS:
                os.kill(os.getpid(), number)
            wait_until(lambda: len(seen) == 2, "both signals")
            raise LookupError
    except LookupError:
        pass
    assert set(seen) == {signal.SIGTERM, signal.SIGINT}
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_in_another_thread_nothing_is_changed() -> None:
    handlers = []

    def look() -> None:
        with handling_stop_signals(note):
            handlers.extend(signal.getsignal(number) for number in STOP_SIGNALS)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(20)
    assert handlers == [signal.getsignal(number) for number in STOP_SIGNALS]
