"""Place of the file, where the processes of one project meet and strangers cannot read."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import LayerConfigurationError

SHARED_MEMORY = Path("/dev/shm")

SIBLINGS = ("-journal", "-wal", "-shm")
"""Endings of the files that SQLite puts beside its own. It follows links there, too, and believes what it finds."""

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
            f"name={name!r} is not a name for a channel layer's file: "
            "use up to 100 ASCII letters, digits, '-', '_' and '.'"
        )
    return _base() / f"millrace-{os.geteuid()}" / f"{name}.sqlite3"


@dataclass(frozen=True)
class Location:
    """A file, and who may have a hand in it: this process's user and root, or with ``shared_group`` a group.

    Whoever can write to the file can make messages, and whoever can put a link in its place can have another file of
    this user overwritten.

    Attributes:
        path: absolute.
        is_default: whether the directory is this layer's own and is made if it is missing.
        shared_group: whether the group of the directory shares the file.
    """

    path: Path
    is_default: bool = False
    shared_group: bool = False

    def prepare(self) -> None:
        """Make the file unless it is there; to be called before SQLite opens it.

        Raises:
            LayerConfigurationError: somebody else owns it, can write to it, or can put another one in its place.
        """
        directory = self.path.parent
        try:
            if self.is_default:
                directory.mkdir(mode=0o700, exist_ok=True)
            os.path.realpath(directory, strict=True)
            self._check_way()
            self._check_directory()
            self._create()
        except OSError as error:
            raise LayerConfigurationError(
                f"cannot create {self.path} for the channel layer: {error.strerror}. Set another file (CONFIG: path)."
            ) from error
        self.check_files()

    def check_files(self) -> None:
        """Look at the file and at what SQLite has beside it; once more when it is open, before anything is written.

        Raises:
            LayerConfigurationError: as `prepare`.
        """
        for path in (self.path, *(self.path.with_name(self.path.name + suffix) for suffix in SIBLINGS)):
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode):
                raise self._refused(path, "is a symbolic link")
            if not stat.S_ISREG(found.st_mode):
                raise self._refused(path, "is not a regular file")
            if self.shared_group:
                self._check_shared(path, found)
            else:
                self._check_own(path, found)

    def _check_own(self, path: Path, found: os.stat_result) -> None:
        if found.st_uid != os.geteuid():
            raise self._refused(path, f"belongs to user {found.st_uid}, not to this process's user {os.geteuid()}")
        if found.st_mode & 0o022:
            raise self._refused(path, "can be written to by other users")

    def _check_shared(self, path: Path, found: os.stat_result) -> None:
        group = self.path.parent.stat().st_gid
        if found.st_gid != group:
            raise self._refused(path, f"belongs to group {found.st_gid}, not to its directory's group {group}")
        if found.st_mode & 0o002:
            raise self._refused(path, "can be written to by all users")

    def _check_directory(self) -> None:
        directory = self.path.parent
        found = directory.lstat() if self.is_default else directory.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise self._refused(directory, "is not a directory")
        if self.shared_group:
            if found.st_gid not in {os.getegid(), *os.getgroups()} or found.st_mode & 0o3002 != stat.S_ISGID:
                raise LayerConfigurationError(
                    f"{directory} is not prepared for shared_group. Give it to a group that this process's user "
                    f"{os.geteuid()} is in, and to nobody else: chgrp GROUP {directory}; chmod 2770 {directory}"
                )
        elif found.st_uid not in (os.geteuid(), 0):
            raise self._refused(directory, f"belongs to user {found.st_uid}, not to this process's user {os.geteuid()}")
        elif found.st_mode & 0o022 and (
            self.is_default or (found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX)
        ):
            raise self._refused(directory, "can be written to by other users")

    def _check_way(self) -> None:
        """Refuse links that others have put into directories everybody can write to, as Linux's protected_symlinks."""
        for link, owner, parent in _links_to(self.path.parent):
            if owner not in (os.geteuid(), 0) and parent.st_mode & 0o002 and owner != parent.st_uid:
                raise self._refused(link, f"is a symbolic link of user {owner}")

    def _create(self) -> None:
        # A file that exists is not opened: closing it would drop the locks that SQLite's connections of
        # this process hold on it.
        try:
            created = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        try:
            os.fchmod(created, 0o660 if self.shared_group else 0o600)  # whatever the umask
        finally:
            os.close(created)

    def _refused(self, path: Path, reason: str) -> LayerConfigurationError:
        return LayerConfigurationError(
            f"{path} {reason}, so the channel layer does not use it. "
            "Remove it, or set another file, in a directory that no other user can write to (CONFIG: path)."
        )


def _links_to(directory: Path) -> Iterator[tuple[Path, int, os.stat_result]]:
    """Symbolic links on the way to a directory that exists: each with its owner and the directory it lies in."""
    here, ahead = Path(directory.anchor), list(reversed(directory.parts[1:]))
    while ahead:
        name = ahead.pop()
        if name == os.pardir:
            here = here.parent
            continue
        found = (here / name).lstat()
        if not stat.S_ISLNK(found.st_mode):
            here /= name
            continue
        yield here / name, found.st_uid, here.stat()
        target = (here / name).readlink()
        if target.is_absolute():
            here = Path(target.anchor)
        ahead += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _base() -> Path:
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _name_of(directory: Path) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", directory.name)[:40]
    return f"{readable}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
