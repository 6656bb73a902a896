from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from workers import supervisor as module
from workers.supervisor import PARENT_VARIABLE, Supervisor, exit_with_parent

from .tools import Clock

OBEDIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(int(sys.argv[2])))
open(sys.argv[1], "a").write("started\\n")
while True: time.sleep(0.01)
"""

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: open(sys.argv[1], "a").write("told\\n"))
signal.signal(signal.SIGINT, lambda number, frame: sys.exit(0))
open(sys.argv[1], "a").write("started\\n")
while True: time.sleep(0.01)
"""


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


SAYS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
os.write(int(os.environ["MILLRACE_HEARTBEAT"]), sys.argv[2].encode())
open(sys.argv[1], "a").write("started\\n")
while not os.path.exists(sys.argv[3]): time.sleep(0.01)
sys.exit(75)
"""


class Running:
    """A supervisor in a thread."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(supervisor.run()))
        self.thread.start()

    def stop(self) -> int:
        self.supervisor.stop()
        self.thread.join(30)
        return self.codes[0]


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


@pytest.mark.parametrize(("code", "result"), [(0, 0), (3, 1)])
def test_all_processes_are_started_and_stopped(code: int, result: int, tmp_path: Path, eventually: Any) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(OBEDIENT, log, code), 3))
    eventually(lambda: lines(log) == 3, "three processes")
    assert len(running.supervisor.pids) == 3
    assert running.stop() == result
    assert running.supervisor.pids == []


def test_a_killed_process_is_started_anew(tmp_path: Path, eventually: Any, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(OBEDIENT, log, 0), 1))
    eventually(lambda: lines(log) == 1, "the process")
    os.kill(running.supervisor.pids[0], signal.SIGKILL)
    eventually(lambda: lines(log) == 2, "the next process")
    assert running.stop() == 0
    assert "worker process 1 ended with signal SIGKILL; next start in 0.5 s" in caplog.text


@pytest.mark.parametrize("command", [python("raise SystemExit(5)"), ["/no/such/program"]], ids=["ends", "missing"])
def test_the_pause_before_the_next_start_grows_up_to_its_limit(
    command: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.04)
    monkeypatch.setattr(module, "STABLE_SECONDS", 3_600.0)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.005)
    running = Running(Supervisor(command, 1))
    eventually(lambda: caplog.text.count("next start in") >= 4, "four failures")
    assert running.stop() in (0, 1)
    assert re.findall(r"next start in (\S+) s", caplog.text)[:4] == ["0.01", "0.02", "0.04", "0.04"]


def test_a_process_that_lived_long_starts_with_the_short_pause_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "STABLE_SECONDS", 0.0)
    running = Running(Supervisor(python("pass"), 1))
    eventually(lambda: caplog.text.count("next start in") >= 3, "three ends")
    running.stop()
    assert set(re.findall(r"next start in (\S+) s", caplog.text)) == {"0.01"}


def test_a_process_stopped_before_it_could_handle_signals_ended_well(eventually: Any) -> None:
    running = Running(Supervisor([sys.executable, "-c", "import time; time.sleep(60)"], 1))
    eventually(lambda: running.supervisor.pids, "the process")
    assert running.stop() == 0


def test_a_process_that_does_not_stop_is_killed(
    tmp_path: Path, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(STUBBORN, log), 1, grace=-4.9))
    eventually(lambda: lines(log) == 1, "the process")
    assert running.stop() == 1
    assert "worker process 1 did not end in time and is killed" in caplog.text


def test_a_signal_without_a_name_is_described_by_its_number(
    tmp_path: Path, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(OBEDIENT, log, 0), 1))
    eventually(lambda: lines(log) == 1, "the process")
    os.kill(running.supervisor.pids[0], 40)
    eventually(lambda: "ended with signal 40" in caplog.text, "the log line")
    assert running.stop() == 0


def test_a_process_that_is_to_be_replaced_has_a_successor_while_it_finishes(
    tmp_path: Path, eventually: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STABLE_SECONDS", 0.0)
    log, done = tmp_path / "log", tmp_path / "done"
    supervisor = Supervisor(python(SAYS, log, ".R", done), 1)
    start, words = supervisor._start, iter([".R", "."])

    def start_next(child: Any) -> None:
        supervisor.command = python(SAYS, log, next(words), done)
        start(child)

    monkeypatch.setattr(supervisor, "_start", start_next)
    running = Running(supervisor)
    eventually(lambda: lines(log) == 2, "the successor")
    assert len(supervisor.pids) == 2
    supervisor.command = python(SAYS, log, ".", tmp_path / "never")
    monkeypatch.setattr(supervisor, "_start", start)
    done.touch()
    eventually(lambda: lines(log) >= 3 and len(supervisor.pids) == 1, "the end of the first, and of the second")
    assert running.stop() == 0
    assert "ended with" not in caplog.text  # both were asked for


def test_a_replaced_process_that_does_not_end_is_killed(
    tmp_path: Path, eventually: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", -35.0)
    monkeypatch.setattr(module, "STABLE_SECONDS", 3_600.0)
    supervisor = Supervisor(python(SAYS, tmp_path / "log", "R", tmp_path / "never"), 1)
    running = Running(supervisor)
    eventually(lambda: "replaced before, ended with signal SIGKILL" in caplog.text, "its end")
    running.stop()
    assert re.search(r"is replaced after \d+ s; next start in 0\.5 s", caplog.text)  # it had not lived for long


def test_a_process_without_heartbeats_is_killed_and_started_anew(
    tmp_path: Path, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(SAYS, log, ".", tmp_path / "never"), 1, silence=0.2))
    eventually(lambda: lines(log) >= 2, "the next process")
    running.stop()
    assert "has given no heartbeat for" in caplog.text
    assert "ended with signal SIGKILL" in caplog.text


def test_a_supervisor_that_stood_still_takes_no_process_for_silent(
    tmp_path: Path, eventually: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor(python(SAYS, tmp_path / "log", ".", tmp_path / "never"), 1, silence=600.0)
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    running = Running(supervisor)
    [child] = supervisor._children
    eventually(lambda: child.heard, "a heartbeat")
    [pid] = supervisor.pids
    clock.ahead = 3_600.0
    eventually(lambda: supervisor.ticked > clock.monotonic() - 600, "the supervisor to go on")
    seen = supervisor.ticked
    eventually(lambda: supervisor.ticked > seen, "its look at the process to be over")
    assert supervisor.pids == [pid]
    running.stop()
    assert "no heartbeat" not in caplog.text


@pytest.mark.parametrize("word", ["", ".S"], ids=["that has not begun", "that stops"])
def test_a_process_is_not_expected_to_give_heartbeats(
    word: str, tmp_path: Path, eventually: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor(python(SAYS, log, word, tmp_path / "never"), 1, silence=0.0)
    running = Running(supervisor)
    eventually(lambda: lines(log) == 1, "the process")
    [pid] = supervisor.pids
    looks = iter(range(5))
    eventually(lambda: next(looks) == 4, "some looks of the supervisor")
    assert supervisor.pids == [pid]
    assert running.stop() == 0


def test_a_second_interrupt_is_passed_on(tmp_path: Path, eventually: Any) -> None:
    log = tmp_path / "log"
    code = "import sys; from workers import Supervisor; sys.exit(Supervisor(sys.argv[1:], 2).run())"
    root = Path(__file__).parents[2]
    command = python(code, *python(STUBBORN, log))
    with subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        try:
            eventually(lambda: lines(log) == 2, "two processes")
            process.send_signal(signal.SIGINT)
            eventually(lambda: lines(log) == 4, "both to be told")
            process.send_signal(signal.SIGINT)
            process.wait(30)
            assert process.returncode == 0
        finally:
            process.kill()


def test_at_least_one_process_is_needed() -> None:
    with pytest.raises(ValueError, match="not 0"):
        Supervisor(["x"], 0)


def test_a_process_whose_supervisor_is_gone_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(20)
    monkeypatch.setenv(PARENT_VARIABLE, str(gone.pid))
    stopped = threading.Event()
    exit_with_parent(stopped.set)
    assert stopped.wait(20)


def test_a_process_whose_supervisor_has_ended_but_is_not_reaped_stops_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setenv(PARENT_VARIABLE, str(ended.pid))
        stopped = threading.Event()
        exit_with_parent(stopped.set)
        ended.wait(20)
        assert stopped.wait(20)


@pytest.mark.parametrize("value", [None, "", "nonsense", str(os.getpid())], ids=["none", "empty", "nonsense", "own"])
def test_a_process_that_no_supervisor_started_watches_nothing(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(PARENT_VARIABLE, value)
    before = threading.active_count()
    exit_with_parent(lambda: pytest.fail("stopped"))
    assert threading.active_count() == before


def test_programs_started_by_consumers_do_not_inherit_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getpid()))
    exit_with_parent(lambda: None)
    assert PARENT_VARIABLE not in os.environ


def test_its_processes_are_out_of_reach_of_the_terminals_ctrl_c(tmp_path: Path, eventually: Any) -> None:
    log = tmp_path / "log"
    running = Running(Supervisor(python(OBEDIENT, log, 0), 1))
    eventually(lambda: lines(log) == 1, "the process")
    [pid] = running.supervisor.pids
    assert os.getsid(pid) == pid
    assert running.stop() == 0


def test_its_signal_handlers_are_those_of_before_when_it_has_ended() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    supervisor = Supervisor(["/no/such/program"], 1)
    supervisor.stop()
    assert supervisor.run() == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_fault_in_looking_after_processes_leaves_none_behind(
    tmp_path: Path, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor(python(OBEDIENT, log, 0), 1)
    pids: list[int] = []

    def broken(slot: Any) -> None:
        look_after(slot)
        eventually(lambda: lines(log) == 1, "the process")
        pids.extend(supervisor.pids)
        raise MemoryError

    look_after = supervisor._look_after
    monkeypatch.setattr(supervisor, "_look_after", broken)
    with pytest.raises(MemoryError):
        supervisor.run()
    assert len(pids) == 1
    assert supervisor.pids == []


def test_a_supervisor_of_another_user_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(module.os, "kill", refuse)
    assert module._exists(1)
