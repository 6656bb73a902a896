"""Tests of benchmarks.stack, with peers that need neither Redis nor an environment."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import stack as stacks
from benchmarks.peers import Peer
from benchmarks.stack import Stack, StackError

PAGES = [sys.executable, "-u", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]


@pytest.fixture(autouse=True)
def nothing_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stacks, "set_up", lambda environment: None)


def peer(directory: Path, command: list[str]) -> Peer:
    """A peer of one process that runs in a directory."""
    return Peer("pages", "Pages", "pages", {"server": command}, "", directory=directory)


def test_a_peer_that_needs_no_redis_gets_none_and_is_stopped(tmp_path: Path):
    with Stack(peer(tmp_path, PAGES)) as stack:
        assert list(stack.processes) == ["server"]
        assert stack.redis_port == 0
        assert "GET / " in stack.said("server")
        process = stack.processes["server"]
        assert process.poll() is None
    assert process.poll() is not None


def test_a_server_that_ends_is_reported_with_what_it_said(tmp_path: Path):
    broken = [sys.executable, "-c", "raise SystemExit('no such module')"]
    with pytest.raises(StackError, match="Pages: server ended with 1: no such module"), Stack(peer(tmp_path, broken)):
        pass


def test_a_server_that_ends_later_is_noticed(tmp_path: Path):
    with Stack(peer(tmp_path, PAGES)) as stack:
        stack.processes["server"].terminate()
        stack.processes["server"].wait(30)
        with pytest.raises(StackError, match="server ended with -15"):
            stack.check()


def test_the_projects_of_others_are_not_shown_our_packages(tmp_path: Path):
    where = [sys.executable, "-c", "import os; raise SystemExit(os.environ['PYTHONPATH'])"]
    with pytest.raises(StackError) as raised, Stack(peer(tmp_path, where)):
        pass
    shown = str(raised.value).rpartition(" ")[2].split(os.pathsep)
    assert shown == [str(tmp_path)]


def test_a_process_is_replaced_by_another_of_its_role_and_both_are_stopped_in_the_end(tmp_path: Path):
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    processes = {"server": PAGES, "worker": sleeping}
    with Stack(Peer("pages", "Pages", "pages", processes, "", directory=tmp_path)) as stack:
        first = stack.processes["worker"]
        stack.replace("worker", 2)
        assert list(stack.processes) == ["server", "worker 2"]
        assert first.wait(20) == -signal.SIGTERM
        stack.check()
        second = stack.processes["worker 2"]
    assert second.poll() is not None


def test_the_last_time_that_a_process_says_it_took_is_read(tmp_path: Path):
    with Stack(peer(tmp_path, PAGES)) as stack:
        stack._log("next").write_text("Took over 3 sockets in 2.00 s\nTook over 5 sockets in 0.25 s\n")
        assert stack.seconds_of("next", "Took over") == 0.25
        with pytest.raises(StackError, match="did not say that it gave up"):
            stack.seconds_of("next", "Gave up")


def test_who_is_succeeded_ends_by_itself(tmp_path: Path):
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    with Stack(Peer("pages", "Pages", "pages", {"server": PAGES, "worker": sleeping}, "", directory=tmp_path)) as stack:
        first = stack.processes["worker"]
        stack.succeed("worker", 2)
        assert list(stack.processes) == ["server", "worker 2"]
        assert first.poll() is None
    assert first.poll() is not None


def test_what_is_to_be_done_before_is_done_before(tmp_path: Path):
    touch = [sys.executable, "-c", "open('made', 'x')"]
    with Stack(replace(peer(tmp_path, PAGES), before=touch)):
        assert (tmp_path / "made").exists()


def test_what_cannot_be_done_before_is_reported_with_what_it_said(tmp_path: Path):
    broken = [sys.executable, "-c", "raise SystemExit('no such table')"]
    with (
        pytest.raises(StackError, match=r"Pages: .*python.* ended with 1: no such table"),
        Stack(replace(peer(tmp_path, PAGES), before=broken)),
    ):
        pass
