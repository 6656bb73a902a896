"""Where the file lies, so that the processes of one project meet and strangers stay out."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ..exceptions import LayerConfigurationError

SHARED_MEMORY = Path("/dev/shm")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z").match


def default_path(name: str | None) -> Path:
    """The file for a project: in shared memory if the system has it, else in the temporary directory.

    It lies in a directory that belongs to the current user. Without a name it is named after the
    current working directory, so that processes started in the same place meet.

    Raises:
        LayerConfigurationError: the name has characters that do not belong into a file name.
    """
    if name is None:
        name = _name_of(Path.cwd())
    elif not isinstance(name, str) or not _NAME(name):
        raise LayerConfigurationError(
            f"name={name!r} is no name for a channel layer's file: "
            "use up to 100 ASCII letters, digits, '-', '_' and '.'"
        )
    return _base() / f"millrace-{os.getuid()}" / f"{name}.sqlite3"


def secure_directory(directory: Path) -> None:
    """Create the directory for `default_path`, or make sure that nobody else owns or writes to it.

    Its parent is writable for everybody, so somebody else could have been there first.

    Raises:
        LayerConfigurationError: somebody was.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise LayerConfigurationError(f"cannot create {directory} for the channel layer: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        what = "is no directory"
    elif found.st_uid != os.getuid():
        what = f"belongs to user {found.st_uid}, not to this process's user {os.getuid()}"
    elif found.st_mode & 0o022:
        what = "can be written to by other users"
    else:
        return
    raise LayerConfigurationError(
        f"{directory} {what}, so the channel layer does not put its file there. "
        "Remove it, or set another file in CHANNEL_LAYERS (CONFIG: path)."
    )


def create_file(path: Path) -> None:
    """Create an empty file that only its owner can read, unless it is there already.

    Raises:
        LayerConfigurationError: it cannot be created, or is no regular file.
    """
    try:
        # A file that exists is not opened: closing it would drop the locks that SQLite's connections of
        # this process hold on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise LayerConfigurationError(f"{path} is no regular file, so it cannot hold a channel layer") from None
    except OSError as error:
        raise LayerConfigurationError(
            f"cannot create {path} for the channel layer: {error.strerror}. Set another file (CONFIG: path)."
        ) from error


def _base() -> Path:
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _name_of(directory: Path) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", directory.name)[:40]
    return f"{readable}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
