"""Log lines for a file or a pipe that may be full or slow, or that has no reader."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import queue
import select
import threading
import time
import weakref
from typing import Protocol, TextIO

logger = logging.getLogger("interface_server.log")

LIMIT = 1_048_576
"""Characters that wait at most; lines beyond them are dropped and counted."""

FLUSH_SECONDS = 1.0
"""Time that the end of the process waits for lines to be written."""

_AT_ONCE = 2_000
_LOOK_SECONDS = 1.0
_GONE = (errno.EPIPE, errno.EBADF)


class Sink(Protocol):
    """The target of the lines."""

    def write(self, data: bytes) -> None:
        """Write all of it, however long that takes; raises `OSError`."""

    def close(self) -> None:
        """Let go of it."""


class Descriptor:
    """An open file descriptor of somebody else's, such as standard output.

    Written to without Python's buffer, since an interpreter that ends while a thread holds a buffer's lock aborts.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._torn = False

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        left = memoryview(b"\n" + data if self._torn else data)
        while left:
            try:
                written = os.write(self.descriptor, left)
            except BlockingIOError:  # non-blocking, since another process shares it
                waiting = select.poll()
                waiting.register(self.descriptor, select.POLLOUT)
                waiting.poll()
                continue
            self._torn = written < len(left)  # a disk that fills up takes a part of a line
            left = left[written:]

    def close(self) -> None:
        """See `Sink.close`."""


class File(Descriptor):
    """A file that lines are appended to. It is opened again after it was moved away (by logrotate, for example).

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        super().__init__(self._open())
        self._looked = time.monotonic()

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if self._has_moved():
                opened = self._open()
                self.close()
                self.descriptor, self._torn = opened, False
        super().write(data)

    def close(self) -> None:
        """See `Sink.close`."""
        os.close(self.descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _has_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return True


class TextStream:
    """A text stream that has no descriptor."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """See `Sink.write`."""
        self._stream.write(data.decode())
        self._stream.flush()

    def close(self) -> None:
        """See `Sink.close`."""


def sink_of(stream: TextIO) -> Sink:
    """The sink for a stream."""
    try:
        return Descriptor(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return TextStream(stream)


class LineWriter:
    """Hands lines to a thread that writes them, so that no caller waits for a slow reader.

    Args:
        sink: where to.
        name: what complaints call it.
        gather: seconds in which the thread lets lines come together. To wake it for each costs more than the line.
    """

    def __init__(self, sink: Sink, name: str, gather: float = 0.0) -> None:
        self.ended = False
        self._gather = gather
        self._sink = sink
        self._name = name
        self._pending = 0
        self._dropped = 0
        self._failing = False
        self._lock = threading.Lock()
        self._start_again()
        _writers.add(self)

    def write(self, line: str) -> None:
        """Have a line written. Never blocks; may be called in a signal handler."""
        if self._pending > LIMIT or self.ended:
            self._dropped += 1
            return
        self._pending += len(line)
        self._queue.put(line)
        if self._thread is None:
            self._start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until all lines so far are written, for a limited time."""
        if self._thread is not None:
            done = threading.Event()
            self._queue.put(done)
            done.wait(seconds)

    def close(self) -> None:
        """Write what is left, if it is taken in time, and end."""
        self.flush()
        self.ended = True
        if self._thread is None:
            self._sink.close()
        else:
            self._queue.put(None)

    def _start_again(self) -> None:
        """Begin without the thread, which a forked process has not inherited."""
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def _start(self) -> None:
        with self._lock, contextlib.suppress(RuntimeError):  # none is started while the interpreter ends
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"writer of {self._name}", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            if self._gather and isinstance(batch[0], str):
                time.sleep(self._gather)
            while len(batch) < _AT_ONCE and not self._queue.empty():
                batch.append(self._queue.get())
            lines = [line for line in batch if isinstance(line, str)]
            if lines:
                self._write(lines)
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
            if None in batch:
                self._sink.close()
                return

    def _write(self, lines: list[str]) -> None:
        text = "".join(lines)
        try:
            self._sink.write(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError) as error:
            self._dropped += len(lines)
            self._complain(error)
        else:
            if self._dropped:
                dropped, self._dropped, self._failing = self._dropped, 0, False
                logger.warning("%s takes lines again; %d were dropped", self._name, dropped)
        self._pending = 0 if self._queue.empty() else self._pending - len(text)

    def _complain(self, error: OSError | ValueError) -> None:
        self.ended = not isinstance(error, OSError) or error.errno in _GONE
        if not self._failing:
            self._failing = True
            reason = getattr(error, "strerror", None) or error
            what = "this is its end" if self.ended else "lines are dropped until it can"
            logger.warning("%s cannot be written: %s; %s", self._name, reason, what)


_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def _start_again() -> None:
    for writer in _writers:
        writer._start_again()


def _flush() -> None:
    for writer in list(_writers):
        writer.flush()


os.register_at_fork(after_in_child=_start_again)
atexit.register(_flush)
