"""Two threads in one piece of code, and a switch between them wherever it may matter."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

Action = Callable[[], object]
Scene = tuple[Action, Action, Action]
"""What one thread does, what another does meanwhile, and a look at what came of it."""

BLOCKED_SECONDS = 0.005
"""After this time a thread that has not ended is taken to wait for the one that stands still. Being wrong about a
slow one costs a point of its test, and fails nothing."""

END_SECONDS = 30.0

STORE = dis.opmap["STORE_ATTR"]
"""Between reading an attribute and storing what was made of it, another thread's change is lost."""


class _Stop:
    """Stops the thread in which it traces at the ``at``-th place in a file: a new line, or just before it stores."""

    def __init__(self, file: str, at: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._file = file
        self._left = at

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != self._file:
            return None
        frame.f_trace_opcodes = True
        if event == "line" or (event == "opcode" and frame.f_code.co_code[frame.f_lasti] == STORE):
            if self._left == 0:
                self.reached.set()
                self.go_on.wait(END_SECONDS)
            self._left -= 1
        return self


def interleave(scene: Callable[[], Scene], module: ModuleType) -> None:
    """Play a scene once for each place in a module that its first action comes to.

    There the first thread stands still until the second has ended or waits for it.
    """
    assert module.__file__ is not None
    at = 0
    while _play(scene(), _Stop(module.__file__, at)):
        at += 1
    assert at > 1, "the first action does nothing in the module"


def _play(scene: Scene, stop: _Stop) -> bool:
    """Whether the first action went on for so long that it could be stopped."""
    first, second, check = scene
    errors: list[BaseException] = []
    ended = threading.Event()

    def guarded(action: Action) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    def traced() -> None:
        sys.settrace(stop)
        try:
            guarded(first)
        finally:
            sys.settrace(None)
            ended.set()
            stop.reached.set()

    one = threading.Thread(target=traced, daemon=True)
    other = threading.Thread(target=guarded, args=(second,), daemon=True)
    one.start()
    assert stop.reached.wait(END_SECONDS)
    stopped = not ended.is_set()
    other.start()
    other.join(BLOCKED_SECONDS if stopped else END_SECONDS)
    stop.go_on.set()
    for thread in (one, other):
        thread.join(END_SECONDS)
        assert not thread.is_alive(), "the two threads wait for each other"
    if errors:
        raise errors[0]
    check()
    return stopped
