"""`channels.test.live_database`: databases in memory move into files, and back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from channels.test.live_database import on_disk

NAME = "file:of_this_test?mode=memory&cache=shared"


def wrapper_of(name: str) -> Any:
    return DatabaseWrapper({**connections["default"].settings_dict, "NAME": name}, "memory")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database in memory with a table, which is the only one there is."""
    wrapper = wrapper_of(NAME)
    monkeypatch.setattr(connections, "all", lambda **kwargs: [wrapper])
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (name text)")
        cursor.execute("INSERT INTO thing VALUES ('before')")
    yield wrapper
    wrapper.connection.close()


def things(wrapper: Any) -> list[str]:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT name FROM thing ORDER BY name")
        return [name for (name,) in cursor.fetchall()]


def add(wrapper: Any, name: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("INSERT INTO thing VALUES (%s)", [name])


def test_connections_of_other_threads_see_what_is_there_and_what_comes(memory: Any) -> None:
    seen = []

    def look() -> None:
        another = wrapper_of(memory.settings_dict["NAME"])
        seen.append(things(another))
        add(another, "theirs")
        another.close()

    with on_disk():
        assert Path(memory.settings_dict["NAME"]).is_file()
        add(memory, "ours")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [["before", "ours"]]
        assert things(memory) == ["before", "ours", "theirs"]


def test_afterwards_everything_is_as_before(memory: Any) -> None:
    with on_disk():
        path = Path(memory.settings_dict["NAME"])
        memory.close()
    assert not path.exists()
    assert memory.settings_dict["NAME"] == NAME
    assert things(memory) == ["before"]


def test_names_of_one_database_have_one_copy(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = wrapper_of(NAME)
    monkeypatch.setattr(connections, "all", lambda **kwargs: [memory, mirror])
    with on_disk():
        add(memory, "ours")
        assert things(mirror) == ["before", "ours"]
        mirror.close()
    mirror.connection.close()


def test_databases_in_files_stay_where_they_are(memory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrapper = wrapper_of(str(tmp_path / "file.sqlite3"))
    monkeypatch.setattr(connections, "all", lambda **kwargs: [wrapper])
    with on_disk():
        assert wrapper.settings_dict["NAME"] == str(tmp_path / "file.sqlite3")
