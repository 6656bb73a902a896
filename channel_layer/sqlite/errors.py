"""Errors of SQLite, translated."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..exceptions import LayerConfigurationError, LayerUnavailable, LayerUnusable

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LASTING = _DAMAGED | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


def is_busy(error: sqlite3.Error) -> bool:
    """Detect a lock that others hold. Nothing was done."""
    return _primary(error) in _BUSY


def is_full(error: sqlite3.Error) -> bool:
    """Detect that there was no space for the file, its log, or the index of that in shared memory."""
    return _primary(error) == sqlite3.SQLITE_FULL or _code(error) == sqlite3.SQLITE_IOERR_SHMSIZE


def is_lasting(error: sqlite3.Error) -> bool:
    """Detect an error that a connection may meet for ever, though the file has been mended or replaced."""
    return _primary(error) in _LASTING


def translate(error: sqlite3.Error, path: Path, waited: float, committing: bool) -> LayerUnavailable:
    """The exception to raise instead.

    A transaction that failed has changed nothing, with one exception: the commit wrote to the disk and was told
    of an error, so that a part of it may be there.

    Args:
        waited: seconds for which others were waited for, if it is busy.
        committing: whether it was the commit that failed.
    """
    if is_busy(error):
        return LayerUnavailable(str(path), f"other processes kept it locked for {waited:g} s", uncertain=False)
    if is_full(error):
        return no_space(path)
    if _primary(error) == sqlite3.SQLITE_READONLY:
        return LayerUnavailable(str(path), "it cannot be written to; check its owner and permissions", uncertain=False)
    if _primary(error) in _DAMAGED:
        return LayerUnusable(
            str(path),
            f"{path} is damaged or no SQLite file. Stop all processes that use it and delete it; "
            "if it is a channel layer's file, it holds nothing but messages on their way.",
            uncertain=False,
        )
    uncertain = committing and _primary(error) == sqlite3.SQLITE_IOERR
    return LayerUnavailable(str(path), str(error), uncertain)


def unusable(error: LayerConfigurationError, path: Path) -> LayerUnusable:
    """The same, said of a file that was found as it is now: once it has been put right, all goes on."""
    return LayerUnusable(str(path), error.reason, uncertain=False)


def no_space(path: Path) -> LayerUnavailable:
    """There is none left for the file."""
    return LayerUnavailable(
        str(path), "no space is left on its device; free some, or move it (CONFIG: path)", uncertain=False
    )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # Python's own errors have none


def _primary(error: sqlite3.Error) -> int:
    return _code(error) & 0xFF
