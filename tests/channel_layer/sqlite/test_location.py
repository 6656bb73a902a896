"""Where the file lies and who may have put it there."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.sqlite import SqliteChannelLayer, location
from channel_layer.sqlite.location import SIBLINGS, Location, default_path

STRANGER = 54_321
"""A user and a group that nobody here is."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def umask_of_nobody() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("shared", [True, False])
def test_the_default_is_shared_memory_where_there_is_some(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "shm"
    if shared:
        memory.mkdir()
    monkeypatch.setattr(location, "SHARED_MEMORY", memory)
    monkeypatch.setattr(location.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    expected = memory if shared else tmp_path / "tmp"
    assert default_path("shop") == expected / f"millrace-{os.getuid()}" / "shop.sqlite3"


def test_without_a_name_the_working_directory_tells_projects_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for directory in ("one/shop", "other/shop", "one/shop"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / directory)
        found.append(default_path(None))
    assert found[0] == found[2] != found[1]
    assert found[0].name.startswith("shop-")


@pytest.mark.parametrize("name", ["", "a/b", "..\x00", "a b", "ü", "n" * 101, 7])
def test_a_name_that_belongs_into_no_file_name_is_refused(name: object) -> None:
    with pytest.raises(LayerConfigurationError, match="is not a name for a channel layer's file"):
        default_path(name)  # type: ignore[arg-type]


@pytest.mark.usefixtures("umask_of_nobody")
def test_the_default_directory_and_every_file_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "own" / "layer.sqlite3"
    for _ in range(2):
        Location(path, is_default=True).prepare()
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


def test_a_file_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "layer.sqlite3").write_bytes(b"x")
    Location(tmp_path / "layer.sqlite3").prepare()
    assert (tmp_path / "layer.sqlite3").read_bytes() == b"x"


class Place:
    """A layer's file that works, to be made unsafe in one way."""

    def __init__(self, directory: Path) -> None:
        self.victim = directory / "victim"
        self.victim.write_bytes(b"precious")
        self.own = directory / "own"
        self.own.mkdir(mode=0o700)
        self.path = self.own / "layer.sqlite3"
        self.make_layer()

    def make_layer(self) -> None:
        layer = SqliteChannelLayer(self.path)
        try:
            layer.send("room", {"n": 1})
        finally:
            layer.close()

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def refused(place: Place, words: str) -> None:
    with pytest.raises(LayerConfigurationError, match=f"{words}.*so the channel layer does not use it.*CONFIG: path"):
        place.make_layer()
    assert place.victim.read_bytes() == b"precious"


@pytest.mark.parametrize("suffix", ["", *SIBLINGS])
@pytest.mark.parametrize(("bits", "words"), [(0o020, "other users"), (0o002, "other users")], ids=["group", "world"])
def test_a_file_that_others_can_write_to_is_refused(place: Place, suffix: str, bits: int, words: str) -> None:
    place.beside(suffix).touch()
    place.beside(suffix).chmod(0o600 | bits)
    refused(place, f"layer.sqlite3{suffix} can be written to by {words}")


@pytest.mark.parametrize("suffix", ["", *SIBLINGS])
@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "to nowhere"])
def test_a_link_is_refused_and_what_it_leads_to_left_alone(place: Place, suffix: str, exists: bool) -> None:
    link, target = place.beside(suffix), place.victim if exists else place.victim.with_name("nowhere")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    refused(place, f"layer.sqlite3{suffix} is a symbolic link")
    assert not target.exists() or exists


@as_root
@pytest.mark.parametrize("suffix", ["", *SIBLINGS])
def test_a_file_of_somebody_else_is_refused(place: Place, suffix: str) -> None:
    place.beside(suffix).touch()
    os.chown(place.beside(suffix), STRANGER, -1)
    refused(place, f"layer.sqlite3{suffix} belongs to user {STRANGER}, not to this process's user 0")


def test_what_is_no_file_is_refused(place: Place) -> None:
    place.path.unlink()
    place.path.mkdir()
    refused(place, r"layer.sqlite3 is not a regular file")


def test_a_directory_everybody_can_write_to_is_refused_unless_it_is_sticky(place: Place) -> None:
    place.own.chmod(0o1777)
    place.make_layer()
    place.own.chmod(0o777)
    refused(place, r"own can be written to by other users")


def test_the_default_directory_is_to_be_its_owners_alone(place: Place) -> None:
    default = Location(place.path, is_default=True)
    default.prepare()
    place.own.chmod(0o770)
    with pytest.raises(LayerConfigurationError, match="own can be written to by other users"):
        default.prepare()
    place.own.rename(place.own.with_name("real"))
    place.own.symlink_to("real")
    with pytest.raises(LayerConfigurationError, match="own is not a directory"):
        default.prepare()


@as_root
def test_a_directory_of_somebody_else_is_refused(place: Place) -> None:
    os.chown(place.own, STRANGER, -1)
    refused(place, f"own belongs to user {STRANGER}")


@as_root
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_to_the_directory_is_followed_unless_a_stranger_put_it_there(
    place: Place, tmp_path: Path, absolute: bool
) -> None:
    hall = tmp_path / "hall"
    hall.mkdir()
    hall.chmod(0o1777)
    (hall / "link").symlink_to(place.own if absolute else "../hall/../own/.")
    place.path = hall / "link" / "layer.sqlite3"
    place.make_layer()
    os.chown(hall / "link", STRANGER, -1, follow_symlinks=False)
    refused(place, f"hall/link is a symbolic link of user {STRANGER}")
    hall.chmod(0o755)  # now only the owner of the directory can have put it there
    place.make_layer()


def test_a_link_that_leads_round_in_a_circle_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(LayerConfigurationError, match="Too many levels of symbolic links"):
        Location(tmp_path / "a" / "layer.sqlite3").prepare()


@pytest.mark.parametrize("is_default", [True, False])
def test_a_directory_that_is_missing_or_closed_is_a_clear_error(tmp_path: Path, is_default: bool) -> None:
    with pytest.raises(LayerConfigurationError, match=r"cannot create .*No such file or directory.*CONFIG: path"):
        Location(tmp_path / "missing" / "own" / "layer.sqlite3", is_default).prepare()


@as_root
@pytest.mark.usefixtures("umask_of_nobody")
def test_a_group_can_share_a_file(place: Place) -> None:
    def shared() -> Location:
        return Location(place.own / "shared.sqlite3", shared_group=True)

    for owner, bits in ((0, 0o770), (0, 0o2777), (STRANGER, 0o2770)):
        os.chown(place.own, -1, owner)
        place.own.chmod(bits)
        with pytest.raises(LayerConfigurationError, match=f"chgrp GROUP {place.own}; chmod 2770 {place.own}"):
            shared().prepare()
    os.chown(place.own, STRANGER, 0)
    place.own.chmod(0o2770)
    os.umask(0o077)
    shared().prepare()
    found = shared().path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 0)
    os.chown(shared().path, STRANGER, -1)
    shared().prepare()
    os.chown(shared().path, -1, STRANGER)
    with pytest.raises(LayerConfigurationError, match=f"belongs to group {STRANGER}, not to its directory's group 0"):
        shared().prepare()
    os.chown(shared().path, -1, 0)
    shared().path.chmod(0o666)
    with pytest.raises(LayerConfigurationError, match="can be written to by all users"):
        shared().prepare()


def test_sharing_needs_a_path() -> None:
    with pytest.raises(LayerConfigurationError, match="shared_group needs path"):
        SqliteChannelLayer(shared_group=True)


def as_user(user: int, group: int, work: Callable[[], bool]) -> None:
    """Do something in a process of that user; it returns whether all is well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([group])
            os.setgid(user)
            os.setuid(user)
            status = 0 if work() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@as_root
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_processes_of_two_users_exchange_messages_through_a_shared_file() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, -1, STRANGER)
        Path(directory).chmod(0o2770)
        layer = SqliteChannelLayer(Path(directory) / "layer.sqlite3", shared_group=True)

        def send() -> bool:
            layer.send("room", {"n": os.geteuid()})
            assert {file.stat().st_uid for file in Path(directory).iterdir()} <= {STRANGER + 1, STRANGER + 2}
            return layer.receive(["other"])[0] is None

        def receive() -> bool:
            return layer.receive(["room"]) == ("room", {"n": STRANGER + 1})

        as_user(STRANGER + 1, STRANGER, send)
        as_user(STRANGER + 2, STRANGER, lambda: receive() and send())
        with pytest.raises(AssertionError):
            as_user(STRANGER + 3, STRANGER + 3, receive)
