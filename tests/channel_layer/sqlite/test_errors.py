"""Errors of SQLite, as what a caller of the layer gets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.sqlite import errors

PATH = Path("/srv/layer.sqlite3")


def error_of(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("text of the driver")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("committing", [True, False])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY, "other processes kept it locked for 3 s"),
        (sqlite3.SQLITE_BUSY_RECOVERY, "other processes kept it locked"),
        (sqlite3.SQLITE_LOCKED, "other processes kept it locked"),
        (sqlite3.SQLITE_FULL, "no space is left on its device; free some, or move it"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "no space is left on its device"),
        (sqlite3.SQLITE_READONLY, "it cannot be written to; check its owner and permissions"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "it cannot be written to"),
        (sqlite3.SQLITE_CANTOPEN, "text of the driver"),
        (sqlite3.SQLITE_NOMEM, "text of the driver"),
    ],
)
def test_what_was_undone_is_certain(code: int, words: str, committing: bool) -> None:
    found = errors.translate(error_of(code), PATH, 3, committing)
    assert isinstance(found, LayerUnavailable)
    assert words in str(found)
    assert not found.uncertain


def test_only_a_commit_that_failed_while_writing_is_uncertain() -> None:
    error = error_of(sqlite3.SQLITE_IOERR_WRITE)
    for committing in (True, False):
        found = errors.translate(error, PATH, 3, committing)
        assert isinstance(found, LayerUnavailable)
        assert found.uncertain is committing


def test_an_error_of_python_itself_is_translated_too() -> None:
    found = errors.translate(sqlite3.ProgrammingError("Cannot operate on a closed database."), PATH, 3, True)
    assert isinstance(found, LayerUnavailable)
    assert not found.uncertain


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT_INDEX])
def test_a_damaged_file_is_a_matter_of_configuration(code: int) -> None:
    found = errors.translate(error_of(code), PATH, 3, False)
    assert isinstance(found, LayerConfigurationError)
    assert str(found).startswith("/srv/layer.sqlite3 is damaged or no SQLite file. Stop all processes that use it")


def test_a_connection_is_given_up_after_errors_that_may_be_its_own() -> None:
    lasting = [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB]
    passing = [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY]
    assert [errors.is_lasting(error_of(code)) for code in lasting + passing] == [True] * 4 + [False] * 3
