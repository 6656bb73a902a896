"""Ending a loop from a signal handler."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from channels.delay.stopping import Stopper
from tests.conftest import wait_until


def test_a_signal_wakes_the_loop_until_it_has_ended() -> None:
    interrupted = threading.Semaphore(0)
    notes: list[str] = []
    stopper = Stopper(interrupted.release, lambda: notes.append("stop"))
    before = signal.getsignal(signal.SIGTERM)
    with stopper.running(signal_handlers=True):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: notes == ["stop"], "the handler")
        for _ in range(3):  # whoever was about to wait the first time is woken the next time
            assert interrupted.acquire(timeout=20)
        assert stopper.stopping.is_set()
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_a_stop_nothing_is_interrupted_while_the_loop_runs() -> None:
    calls: list[int] = []
    stopper = Stopper(lambda: calls.append(1), lambda: None)
    with stopper.running(signal_handlers=False):
        assert not stopper.stopping.is_set()
    assert calls == []


def test_it_works_beside_the_main_thread_without_signals() -> None:
    stopper = Stopper(lambda: None, lambda: None)
    ended: list[bool] = []

    def loop() -> None:
        with stopper.running(signal_handlers=True):
            ended.append(stopper.stopping.wait(20))

    thread = threading.Thread(target=loop)
    thread.start()
    stopper.stop()
    thread.join(20)
    assert ended == [True]


def test_a_stop_after_the_end_does_no_harm() -> None:
    noted: list[bool] = []
    stopper = Stopper(lambda: None, lambda: noted.append(True))
    with stopper.running(signal_handlers=False):
        pass
    stopper.stop()
    assert noted == [True]


def test_a_layer_that_cannot_be_interrupted_is_tried_again(caplog: Any) -> None:
    failures = threading.Semaphore(0)

    def fail() -> None:
        failures.release()
        raise RuntimeError("no way")

    stopper = Stopper(fail, lambda: None)
    with stopper.running(signal_handlers=False):
        stopper.stop()
        for _ in range(2):
            assert failures.acquire(timeout=20)
    assert "the layer cannot be interrupted (no way)" in caplog.text
