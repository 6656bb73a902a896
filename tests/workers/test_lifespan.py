"""The start and the end of an application, alone and around the life of a worker."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from tests.conftest import wait_until
from workers import Worker, lifespan
from workers.lifespan import Lifespan, StartupFailed

from .tools import FlakyLayer, Routes, working

COMPLETE = {"type": "lifespan.startup.complete"}


class Application:
    """Answers the events as the test says, and notes what happens to it and where."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.notes: list[str] = []
        self.threads: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["pool"] = self
        try:
            while True:
                event = await receive()
                self.notes.append(event["type"])
                self.threads.add(threading.current_thread().name)
                await send(self.answers.pop(0))
        finally:
            self.notes.append("ended")


def told(application: Any) -> tuple[bool, dict[str, Any]]:
    """Start and stop an application; what its end said, and the state."""

    async def run() -> tuple[bool, dict[str, Any]]:
        life = Lifespan(application)
        await life.start()
        return await life.stop(), life.state

    return asyncio.run(run())


def test_it_is_told_to_start_and_to_end_and_leaves_a_state() -> None:
    application = Application(COMPLETE, {"type": "lifespan.shutdown.complete"})
    assert told(application) == (True, {"pool": application})
    assert application.notes == ["lifespan.startup", "lifespan.shutdown", "ended"]


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("No application configured for scope type 'lifespan'")


async def takes_it_for_a_websocket(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def returns(scope: Any, receive: Any, send: Any) -> None: ...


async def exits(scope: Any, receive: Any, send: Any) -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("application", [refuses, takes_it_for_a_websocket, returns, exits])
def test_one_that_takes_no_part_is_let_alone(application: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert told(application)[0]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_one_that_refuses_to_start_says_why_in_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    application = Application({"type": "lifespan.startup.failed", "message": "no database"})
    with pytest.raises(StartupFailed, match=r"lifespan.startup.failed\): no database$"):
        told(application)
    assert application.notes == ["lifespan.startup", "ended"]
    assert caplog.text == ""
    with pytest.raises(StartupFailed, match="it has given no reason"):
        told(Application({"type": "lifespan.startup.failed"}))


def test_a_traceback_that_it_gives_is_logged_and_its_last_line_is_the_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace = "Traceback (most recent call last):\n  File asgi.py, line 7\nOSError: no database\n"
    with pytest.raises(StartupFailed, match=r"lifespan.startup.failed\): OSError: no database$"):
        told(Application({"type": "lifespan.startup.failed", "message": trace}))
    assert trace.strip() in caplog.text


def test_what_goes_wrong_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert not told(Application(COMPLETE, {"type": "lifespan.shutdown.failed", "message": "pool is stuck"}))[0]
    assert "lifespan.shutdown.failed: pool is stuck" in caplog.text
    assert not told(Application(COMPLETE))[0]
    assert "IndexError" in caplog.text


@pytest.mark.parametrize("answer", [{"type": "http.response.start"}, {}, {"type": "lifespan.startup.begun"}])
def test_an_answer_that_is_none_is_an_error_of_the_application(
    answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workers")
    told(Application(answer))
    assert "answers lifespan.startup and lifespan.shutdown with .complete or .failed" in caplog.text
    assert not told(Application(COMPLETE, COMPLETE))[0]
    assert "comes after an answer to lifespan.startup" in caplog.text


def test_it_begins_anew_in_another_loop_but_not_in_two_at_once() -> None:
    async def run() -> None:
        application.answers = [COMPLETE, {"type": "lifespan.shutdown.complete"}]
        await life.start()
        with pytest.raises(RuntimeError, match="has started already, for another worker"):
            await life.start()
        await life.stop()

    application = Application()
    life = Lifespan(application)
    asyncio.run(run())
    asyncio.run(run())
    assert application.notes == ["lifespan.startup", "lifespan.shutdown", "ended"] * 2


# -- around the life of a worker -----------------------------------------------------------------


@pytest.fixture
def layer() -> FlakyLayer:
    return FlakyLayer()


def test_a_worker_takes_no_message_before_its_application_has_started(layer: FlakyLayer) -> None:
    application = Application(COMPLETE, {"type": "lifespan.shutdown.complete"})
    done = threading.Event()

    def consumer(message: Any) -> None:
        application.notes.append("message")
        done.set()

    layer.send("a", {})
    with working(layer, Routes(a=consumer), lifespan=Lifespan(application)):
        assert done.wait(20)
    assert application.notes == ["lifespan.startup", "message", "lifespan.shutdown", "ended"]
    assert application.threads == {"worker-async"}


def test_a_worker_whose_application_refuses_does_not_start(layer: FlakyLayer) -> None:
    life = Lifespan(Application({"type": "lifespan.startup.failed", "message": "no database"}))
    layer.send("a", {})
    worker = Worker(layer, Routes(a=lambda message: None), lifespan=life, signal_handlers=False)
    with pytest.raises(StartupFailed, match="no database"):
        worker.run()
    assert layer.receive_batch(["a"])


async def never(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


def test_a_worker_can_be_stopped_while_its_application_starts(
    layer: FlakyLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    monkeypatch.setattr(lifespan, "SLOW_SECONDS", 0.05)
    with working(layer, Routes(a=lambda message: None), lifespan=Lifespan(never)):
        eventually(lambda: "has not answered lifespan.startup for 0.05 s" in caplog.text, "a line in the log")


def test_an_application_that_does_not_end_has_the_grace_period(
    layer: FlakyLayer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        started.set()
        await never(scope, receive, send)

    monkeypatch.setattr("workers.worker.FAREWELL_SECONDS", 0.1)
    started, results = threading.Event(), []
    worker = Worker(
        layer, Routes(a=lambda message: None), lifespan=Lifespan(stubborn), signal_handlers=False, grace=0.2
    )
    thread = threading.Thread(target=lambda: results.append(worker.run()))
    thread.start()
    assert started.wait(20)
    worker.stop()
    thread.join(20)
    assert results == [False]
    assert "has not ended within" in caplog.text


def test_the_sync_code_of_the_start_has_a_thread_of_the_worker_s(layer: FlakyLayer) -> None:
    from workers.sync_side import SyncSide

    class Counted(SyncSide):
        calls: list[str] = []

        def enter(self) -> None:
            self.calls.append("enter")

        def leave(self) -> None:
            self.calls.append("leave")

    application = Application(COMPLETE, {"type": "lifespan.shutdown.complete"})
    with working(layer, Routes(a=lambda message: None), lifespan=Lifespan(application), sync_side=Counted()):
        wait_until(lambda: "leave" in Counted.calls, "the end of the start")  # a worker that is to end breaks it off
    assert Counted.calls == ["enter", "leave"]
