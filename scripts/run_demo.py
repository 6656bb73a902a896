"""Run the demo: ``run_demo.py [PORT]``. What ``make demo`` calls once everything is installed.

Brings the database up to date, makes two users, starts the processes of the Procfile (`demo_processes.py`), says where
to look and how to sign in as soon as a page is served, restarts one process at a key, and ends with status 0 on Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import tty
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = ROOT / "scripts" / "demo_processes.py"
READY_SECONDS = 60
WORKER = "worker"


def main() -> int:
    """Run until somebody stops it; the result is the exit status."""
    port = read_port(sys.argv[1] if len(sys.argv) > 1 else "8000")
    check_free(port)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "demo.settings",
        "PYTHONUNBUFFERED": "1",
    }
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    if subprocess.run(migrate, cwd=ROOT, env=environment).returncode:
        return 1
    users = make_users(environment)
    with own_terminal() as terminal:
        return run(port, environment, users, terminal)


def make_users(environment: dict[str, str]) -> list[str]:
    """Have somebody to sign in as; a line for each. Nobody while DEBUG is off, with a line that says why."""
    command = [sys.executable, "manage.py", "demo_users"]
    made = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return made.stdout.splitlines()


def run(port: int, environment: dict[str, str], users: list[str], terminal: int | None) -> int:
    """Start the Procfile's processes and wait for them, or for a signal."""
    asked_to_stop = threading.Event()

    def stop(signum: int, frame: object) -> None:
        asked_to_stop.set()
        processes.terminate()

    # The pipe to its input ends with this process, however that ends. In a session of their own, the processes do not
    # end with what kills this one's process group, before they are told to.
    processes = subprocess.Popen(
        [sys.executable, PROCESSES], cwd=ROOT, env=environment, stdin=subprocess.PIPE, start_new_session=True
    )
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    keys = {} if terminal is None else keys_of((ROOT / "Procfile").read_text())
    threading.Thread(target=announce, args=(port, processes, users, keys), daemon=True).start()
    if terminal is not None:
        threading.Thread(target=pass_keys_on, args=(terminal, keys, processes), daemon=True).start()
    status = processes.wait()
    if asked_to_stop.is_set():
        print("\nStopped.")
        return 0
    print("\nThe demo ended by itself; the lines above say why.", file=sys.stderr)
    return status or 1


def keys_of(procfile: str) -> dict[str, tuple[str, str]]:
    """The keys of the terminal: what each tells the processes, and what it is for."""
    names = [line.partition(":")[0] for line in procfile.splitlines() if ":" in line]
    keys = {str(number): (f"restart {name}", f"restarts {name}") for number, name in enumerate(names, 1)}
    if WORKER in names:
        keys["s"] = (f"toggle {WORKER}", f"stops {WORKER}, and starts it again")
    return keys


def pass_keys_on(terminal: int, keys: dict[str, tuple[str, str]], processes: subprocess.Popen[bytes]) -> None:
    """Tell the processes what the keys that are pressed stand for."""
    while pressed := os.read(terminal, 1):
        line, _ = keys.get(pressed.decode("ascii", "replace").lower(), ("", ""))
        if line:
            tell(processes, line)


def tell(processes: subprocess.Popen[bytes], line: str) -> None:
    """Hand a line to the processes, if they are still there."""
    assert processes.stdin is not None
    with suppress(OSError):
        processes.stdin.write(f"{line}\n".encode())
        processes.stdin.flush()


def read_port(text: str) -> int:
    """The port as a number, or an end with a sentence."""
    if text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    sys.exit(f"PORT={text} is not a port: give a number from 1 to 65535, for example make demo PORT=9000.")


def check_free(port: int) -> None:
    """End with a sentence if the port cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                sys.exit(
                    f"Port {port} is in use: stop what listens there, or choose another: make demo PORT={port + 1}"
                )
            sys.exit(f"Port {port} cannot be used here ({error.strerror}): choose another: make demo PORT=8000")


def announce(port: int, processes: subprocess.Popen[bytes], users: list[str], keys: dict[str, tuple[str, str]]) -> None:
    """Say where the demo is, how to sign in and which keys there are, once it serves its start page."""
    address = f"http://localhost:{port}/"
    for _ in range(READY_SECONDS * 5):
        try:
            with urllib.request.urlopen(address, timeout=5):
                break
        except (urllib.error.URLError, OSError):
            try:
                processes.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            return
    else:
        return
    tell(processes, "ready")
    sign_in = ["Sign in to its documents as", "", *(f"    {user}" for user in users), ""] if users else []
    restarts = ["Press", "", *(f"    {key}  {purpose}" for key, (_, purpose) in keys.items()), ""] if keys else []
    lines = ["The demo is here:", "", f"    {address}", "", *sign_in, *restarts, "Ctrl-C stops it."]
    width = max(map(len, lines)) + 4
    box = [f"│  {line:<{width - 2}}│" for line in lines]
    print("\n".join(["", "╭" + "─" * width + "╮", *box, "╰" + "─" * width + "╯", ""]), flush=True)


@contextmanager
def own_terminal() -> Iterator[int | None]:
    """Let Ctrl-C come to this process and its children alone, and keys to it as they are pressed.

    The result is the terminal, if there is one and this process is in its foreground. `make` treats an interrupt as a
    failure of its own. In a process group of their own, in the terminal's foreground, the demo's processes get the
    signal, `make` does not, and sees a command that ended well.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        yield None
        return
    try:
        before = os.tcgetpgrp(terminal)
        if before != os.getpgrp():  # running in the background
            yield None
            return
        # Stopping with Ctrl-Z would leave the shell waiting for `make`, which is not stopped.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        if os.getpgrp() != os.getpid():  # what leads a session has a group of its own already, and may not leave it
            os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        modes = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal)
            yield terminal
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, modes)
            os.tcsetpgrp(terminal, before)
    finally:
        os.close(terminal)


if __name__ == "__main__":
    sys.exit(main())
