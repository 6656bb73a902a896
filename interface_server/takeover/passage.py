"""The Unix socket over which two servers talk and pass descriptors. Its calls block, for a limited time."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from .estate import TakeoverError

SECONDS: Final = 15.0
"""Longest wait for one answer of the other server."""

MOST_AT_ONCE: Final = 200
"""Descriptors in one message; the system allows 253."""

LARGEST: Final = 134_217_728
_LENGTH: Final = struct.Struct("!I")
_CREDENTIALS: Final = struct.Struct("3i")
_MODE: Final = 0o600


def is_supported() -> bool:
    """True if the system has what it takes."""
    return all(hasattr(socket, name) for name in ("AF_UNIX", "SO_PEERCRED", "send_fds")) and hasattr(os, "memfd_create")


def listen(path: str) -> socket.socket:
    """Listen on a path, in place of whoever listened there.

    Raises:
        TakeoverError: that cannot be, or the directory is not safe.
    """
    check_directory(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(own)
        listener.bind(own)
        os.chmod(own, _MODE)  # before anybody can connect
        listener.listen(4)
        os.rename(own, path)
    except OSError as error:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(own)
        raise TakeoverError(f"cannot listen on {path} (--takeover): {error.strerror or error}") from None
    return listener


def connect(path: str) -> socket.socket | None:
    """Reach the server that listens on a path; ``None`` if none does.

    Raises:
        TakeoverError: it is somebody else's, or the directory is not safe.
    """
    check_directory(path)
    passage = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    passage.settimeout(SECONDS)
    try:
        passage.connect(path)
        check_peer(passage)
    except (FileNotFoundError, ConnectionRefusedError):
        passage.close()
        return None
    except (OSError, TakeoverError) as error:
        passage.close()
        raise TakeoverError(f"cannot reach the old server at {path} (--takeover): {error}") from None
    return passage


def check_directory(path: str) -> None:
    """Refuse a directory in which others could put a socket in place of ours; raises `TakeoverError`."""
    directory = os.path.dirname(os.path.abspath(path))
    try:
        found = os.stat(directory)
        taken = os.lstat(path) if os.path.lexists(path) else None
    except OSError as error:
        raise TakeoverError(f"cannot use {path} for --takeover: {error.strerror or error}") from None
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TakeoverError(
            f"others than the user of this process can write to {directory}, so a socket there is not safe for "
            "--takeover; use a directory that is this user's alone"
        )
    if taken is not None and not stat.S_ISSOCK(taken.st_mode):
        raise TakeoverError(f"{path} (--takeover) is there and is not a socket; name another path, or remove it")


def check_peer(passage: socket.socket) -> int:
    """Make sure that the other process is the same user's, and return its number; raises `TakeoverError`."""
    raw = passage.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise TakeoverError(f"the process at the other end is of another user ({user})")
    return int(pid)


def encode(record: Any) -> bytes:
    """A record of the conversation as bytes."""
    content: bytes = msgpack.packb(record, use_bin_type=True)
    return _LENGTH.pack(len(content)) + content


def length_of(head: bytes) -> int:
    """The number of bytes that follow the first `HEAD` ones of a record; raises `TakeoverError`."""
    length: int = _LENGTH.unpack(head)[0]
    if length > LARGEST:
        raise TakeoverError("the other process does not speak our language")
    return length


def decode(content: bytes) -> Any:
    """A record from what follows its first bytes."""
    return msgpack.unpackb(content, raw=False)


HEAD: Final = _LENGTH.size


def send(passage: socket.socket, record: dict[str, Any]) -> None:
    """Send one record; raises `OSError`."""
    passage.sendall(encode(record))


def receive(passage: socket.socket) -> dict[str, Any]:
    """Receive one record.

    Raises:
        EOFError: the other process has ended.
        TakeoverError: it takes too long, or what came is none.
    """
    record = decode(_exactly(passage, length_of(_exactly(passage, HEAD))))
    if not isinstance(record, dict):
        raise TakeoverError("the other process does not speak our language")
    return record


def send_descriptors(passage: socket.socket, descriptors: Sequence[int]) -> None:
    """Send descriptors, as many at a time as the system lets be under way; raises `OSError` or `EOFError`."""
    for start in range(0, len(descriptors), MOST_AT_ONCE):
        socket.send_fds(passage, [b"D"], descriptors[start : start + MOST_AT_ONCE])
        _exactly(passage, 1)


def receive_descriptors(passage: socket.socket, count: int, taken: list[int]) -> None:
    """Receive so many descriptors into a list, which has those that came if this fails; raises as `receive` does."""
    while len(taken) < count:
        try:
            data, found, flags, _ = socket.recv_fds(passage, 1, MOST_AT_ONCE)
        except TimeoutError:
            raise TakeoverError("the other process does not answer") from None
        except ConnectionError:
            raise EOFError from None
        taken += found
        if not data:
            raise EOFError
        if not found or flags & socket.MSG_CTRUNC:
            raise TakeoverError("the system lets this process have no more open files; allow more (ulimit -n)")
        passage.sendall(b"A")


def _exactly(passage: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            piece = passage.recv(min(size - len(data), 1_048_576))
        except TimeoutError:
            raise TakeoverError("the other process does not answer") from None
        except ConnectionError:
            raise EOFError from None
        if not piece:
            raise EOFError
        data += piece
    return data
