"""The processes of the demo's Procfile, each of which is restarted alone: what ``run_demo.py`` starts.

honcho reads the Procfile and colours the output, but ends everything when one process ends. Here each is stopped,
started and restarted without the others, by a line of text: on standard input (from the keys of the terminal), or on
the Unix socket that ``DEMO_CONTROL`` names (from the button on the start page). The end of standard input is the end of
whoever started this, and so of everything.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 10
OURSELVES = "demo"

READY = "ready"
"""The line that says that the demo has been seen to serve its start page."""

Act = Callable[[], None]


class Program:
    """One line of the Procfile and its process, if it runs.

    Attributes:
        wanted: whether it is meant to run; one that ends while it is has ended by itself.
        again: whether to start it anew as soon as it has ended.
    """

    def __init__(self, name: str, command: str, colour: str) -> None:
        self.name = name
        self.command = command
        self.colour = colour
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self.again = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process; killing takes along what that has started."""
        if self.process is not None and self.process.poll() is None:
            (os.killpg if number is signal.SIGKILL else os.kill)(self.process.pid, number)


class Manager:
    """Runs the programs. All that happens is put on one queue, and done in the thread of `run`."""

    def __init__(self, procfile: str, environment: dict[str, str]) -> None:
        colours = get_colours()
        lines = parse_procfile(procfile).processes
        self.programs = {name: Program(name, command, next(colours)) for name, command in lines.items()}
        self._environment = environment
        self._printer = Printer(sys.stdout, width=max(map(len, [*self.programs, OURSELVES])))
        self._acts: queue.SimpleQueue[Act] = queue.SimpleQueue()
        self._ready = False
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        """Start everything and return when all of it has ended, with the status of what ended the demo."""
        for program in self.programs.values():
            self._start(program)
        while any(program.process for program in self.programs.values()) or not self._stopping:
            self._acts.get()()
        return self._status

    def stop(self) -> None:
        """End everything; callable from a signal handler and from any thread."""
        self._acts.put(self._stop_all)

    def obey(self, line: str) -> str | None:
        """Do what a line says: ``restart NAME``, ``toggle NAME`` or ``ready``; else say what is wrong with it."""
        verb, _, name = line.strip().partition(" ")
        acts = {"restart": self._restart, "toggle": self._toggle}
        if verb == READY:
            self._acts.put(self._note_ready)
        elif verb not in acts:
            return f"{verb!r} is nothing that can be done here; {' and '.join(acts)} are"
        elif name not in self.programs:
            return f"there is no process {name!r}; there are {', '.join(self.programs)}"
        else:
            self._acts.put(lambda: acts[verb](self.programs[name]))
        return None

    def _note_ready(self) -> None:
        self._ready = True

    def _start(self, program: Program) -> None:
        program.wanted, program.again = True, False
        # The shell puts in $PORT, and becomes the program, so that signals come to it.
        program.process = subprocess.Popen(
            f"exec {program.command}",
            shell=True,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._say(f"{program.name} started (process {program.process.pid})")
        threading.Thread(target=self._follow, args=(program, program.process), daemon=True).start()

    def _follow(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._acts.put(lambda line=line: self._print(line, program.name, program.colour))  # type: ignore[misc]
        process.wait()
        process.stdout.close()
        self._acts.put(lambda: self._note_end(program, process.returncode))

    def _note_end(self, program: Program, status: int) -> None:
        program.process = None
        by_itself, program.wanted = program.wanted, False
        if self._stopping:
            return
        if program.again:
            self._start(program)
        elif not by_itself:
            self._say(f"{program.name} is stopped; the others go on")
        elif self._ready:
            self._say(f"{program.name} ended by itself (status {status}); the others go on. Restart it when you like")
        else:
            self._say(f"{program.name} ended by itself (status {status}) before the demo was ready")
            self._status = status or 1
            self._stop_all()

    def _restart(self, program: Program) -> None:
        if program.process is None:
            self._start(program)
        else:
            self._say(f"restarting {program.name}")
            program.again = True
            self._terminate(program)

    def _toggle(self, program: Program) -> None:
        if program.process is None:
            self._start(program)
        else:
            self._say(f"stopping {program.name}")
            program.again = False
            self._terminate(program)

    def _terminate(self, program: Program) -> None:
        program.wanted = False
        process = program.process
        program.signal(signal.SIGTERM)

        def lose_patience() -> None:
            if program.process is process:
                program.signal(signal.SIGKILL)

        patience = threading.Timer(STOP_SECONDS, self._acts.put, [lose_patience])
        patience.daemon = True
        patience.start()

    def _stop_all(self) -> None:
        if not self._stopping:
            self._stopping = True
            for program in self.programs.values():
                self._terminate(program)

    def _say(self, text: str) -> None:
        self._print(text, OURSELVES, None)

    def _print(self, data: str | bytes, name: str, colour: str | None) -> None:
        self._printer.write(Message("line", data, datetime.now(), name, colour))


def answer_socket(listener: socket.socket, manager: Manager) -> None:
    """Do what whoever connects says, one line each, and answer with ``ok`` or with what is wrong."""
    while True:
        client, _ = listener.accept()
        client.settimeout(5)
        with client, client.makefile("rw") as stream:
            try:
                stream.write(manager.obey(stream.readline()) or "ok")
                stream.flush()
            except (OSError, ValueError):  # gone again, or no text
                continue


def follow_input(manager: Manager) -> None:
    """Do what standard input says, and end everything with its end."""
    for line in sys.stdin:
        manager.obey(line)
    manager.stop()


def main() -> int:
    """Run the Procfile until told to stop; the result is the exit status."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        address = os.path.join(directory, "control")  # only this user may enter the directory
        manager = Manager((ROOT / "Procfile").read_text(), os.environ | {"DEMO_CONTROL": address})
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: manager.stop())
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            threading.Thread(target=answer_socket, args=(listener, manager), daemon=True).start()
            threading.Thread(target=follow_input, args=(manager,), daemon=True).start()
            return manager.run()


if __name__ == "__main__":
    sys.exit(main())
