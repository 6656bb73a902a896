"""What goes from one server to the next, and how they talk about it. Whole servers: end_to_end/test_takeover.py."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from channel_layer.memory import MemoryChannelLayer
from interface_server.cli import check_takeover
from interface_server.endpoints import Endpoint
from interface_server.options import Options, OptionsError
from interface_server.sockets.connections import Connections
from interface_server.sockets.descriptors import Shares
from interface_server.takeover import passage, systemd
from interface_server.takeover.estate import VERSION, Estate, TakeoverError, check_terms, key_of, terms
from interface_server.takeover.moving import adopt, release, settle
from interface_server.takeover.predecessor import memory_file, send_all
from interface_server.takeover.successor import Succession, ask, estate_from
from tests.interface_server.fakes import QuietContext

TERMS = {"version": VERSION, "prefix": "a:"}


def estate(**more: Any) -> Estate:
    return Estate(TERMS, "daphne.x!", **more)


def test_an_estate_is_the_same_when_it_was_carried() -> None:
    state = {"inode": 5, "unsent": b"\x00\xff", "connection": {"inbox": ["text", b"bytes"], "stored_at": 0.25}}
    left = estate(
        listeners=[[["127.0.0.1", 80, None, None], 7]],
        sockets=[state],
        memberships=[["group", "local", 12.5]],
        closed=[["local", 3.5, {"key": b"value"}]],
    )
    assert Estate.unpack(left.pack()) == left


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cannot read"),
        (b"millrace takeover 99\n\x80", "'millrace takeover 99'"),
        (estate().pack()[:-3], "damaged"),
        (b"millrace takeover 1\n\x81\xa3odd\x01", "damaged"),
    ],
)
def test_what_is_no_estate_of_this_version_is_refused_with_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(TakeoverError, match=says):
        Estate.unpack(data)


def test_servers_have_to_agree() -> None:
    own = terms(MemoryChannelLayer(), Options())
    check_terms(own, terms(MemoryChannelLayer(), Options(turn_timeout=3)))
    with pytest.raises(TakeoverError, match="--unordered"):
        check_terms(own, terms(MemoryChannelLayer(), Options(unordered=True)))
    with pytest.raises(TakeoverError, match="version of the takeover"):
        check_terms(own, {})


def test_an_endpoint_is_known_again_by_its_place() -> None:
    assert key_of(Endpoint(port=80, reuse_port=True)) == key_of(Endpoint(port=80, cert_file="new"))
    assert key_of(Endpoint(port=80)) != key_of(Endpoint(port=81))


# -- the passage -----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    directory = tmp_path / "own"
    directory.mkdir(mode=0o700)
    return str(directory / "socket")


def test_its_socket_is_for_its_user_alone(path: str) -> None:
    with passage.listen(path):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_who_listens_takes_the_place_of_another(path: str) -> None:
    with passage.listen(path), passage.listen(path) as second:
        own = passage.connect(path)
        assert own is not None
        with own:
            second.settimeout(5)
            second.accept()[0].close()


def test_nobody_is_there(path: str) -> None:
    assert passage.connect(path) is None
    passage.listen(path).close()  # a socket that was left behind
    assert passage.connect(path) is None


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused(path: str, mode: int) -> None:
    os.chmod(os.path.dirname(path), mode)
    for use in (passage.listen, passage.connect, passage.check_directory):
        with pytest.raises(TakeoverError, match="others than the user of this process"):
            use(path)


def test_a_file_that_is_no_socket_is_refused(path: str) -> None:
    Path(path).touch()
    with pytest.raises(TakeoverError, match="is not a socket"):
        passage.check_directory(path)
    with pytest.raises(TakeoverError, match="No such file"):
        passage.check_directory(os.path.dirname(path) + "/no/socket")


def test_a_process_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert passage.check_peer(ours) == os.getpid()
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        with pytest.raises(TakeoverError, match="of another user"):
            passage.check_peer(ours)


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(5)
    return ours, theirs


def test_records_and_many_descriptors_pass() -> None:
    ours, theirs = pair()
    count = passage.MOST_AT_ONCE + 50
    with ours, theirs, open(os.devnull) as file:
        wanted = [os.dup(file.fileno()) for _ in range(count)]

        def give() -> None:
            passage.send(theirs, {"descriptors": count})
            passage.send_descriptors(theirs, wanted)

        giving = threading.Thread(target=give)
        giving.start()
        found: list[int] = []
        passage.receive_descriptors(ours, passage.receive(ours)["descriptors"], found)
        giving.join()
        assert len(found) == count
        for descriptor in (*wanted, *found):
            os.close(descriptor)


def test_the_end_of_the_other_one_and_its_silence_are_told_apart() -> None:
    ours, theirs = pair()
    with ours:
        ours.settimeout(0.01)
        with pytest.raises(TakeoverError, match="does not answer"):
            passage.receive(ours)
        theirs.close()
        with pytest.raises(EOFError):
            passage.receive(ours)


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\x05"])
def test_another_language_is_refused(data: bytes) -> None:
    ours, theirs = pair()
    with ours, theirs:
        theirs.sendall(data)
        with pytest.raises(TakeoverError, match="does not speak our language"):
            passage.receive(ours)


# -- both sides ------------------------------------------------------------------------------------


class Old:
    """A server in a thread that hands over one listening socket, or does as it is told."""

    def __init__(self, path: str, answer: Any) -> None:
        self._listener = passage.listen(path)
        self._answer = answer
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            connection.settimeout(5)
            try:
                self._answer(connection, passage.receive(connection))
            except BaseException as error:
                self.failure = error


def hand_over(listener: socket.socket) -> Any:
    def answer(connection: socket.socket, theirs: dict[str, Any]) -> None:
        left = Estate(theirs, "daphne.x!", [[key_of(Endpoint(port=1)), os.fstat(listener.fileno()).st_ino]])
        send_all(connection, left, [listener], [])

    return answer


def test_a_new_server_gets_the_listening_socket_of_its_place(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        old = Old(path, hand_over(listener))
        found = ask(path, MemoryChannelLayer(), Options())
        assert found is not None
        assert found.estate.name == "daphne.x!"
        assert found.listener(Endpoint(port=2)) is None
        own = found.listener(Endpoint(port=1))
        assert own is not None
        assert own.getsockname() == listener.getsockname()
        found.confirm()
        old.thread.join(5)
        assert old.failure is None
        own.close()
        found.close()


def test_what_a_new_server_refuses_stays_with_the_old_one(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        old = Old(path, hand_over(listener))
        found = ask(path, MemoryChannelLayer(), Options())
        assert found is not None
        found.refuse("the port is in use")
        old.thread.join(5)
        assert "the new server refused: the port is in use" in str(old.failure)


@pytest.mark.parametrize("ready", [True, False])
def test_an_old_server_that_goes_on_is_believed(path: str, ready: bool) -> None:
    def answer(connection: socket.socket, theirs: dict[str, Any]) -> None:
        if ready:
            descriptor = memory_file(Estate(theirs, "daphne.x!").pack())
            passage.send(connection, {"descriptors": 1})
            passage.send_descriptors(connection, [descriptor])
            os.close(descriptor)
            passage.receive(connection)
        passage.send(connection, {"refused": "it has changed its mind"})

    old = Old(path, answer)

    def take() -> Succession | None:
        found = ask(path, MemoryChannelLayer(), Options())
        assert found is not None
        found.confirm()
        return found

    with pytest.raises(TakeoverError, match="it has changed its mind"):
        take()
    old.thread.join(5)


def test_an_old_server_of_another_version_is_told_so(path: str) -> None:
    told: list[Any] = []

    def answer(connection: socket.socket, theirs: dict[str, Any]) -> None:
        descriptor = memory_file(b"millrace takeover 0\n")
        passage.send(connection, {"descriptors": 1})
        passage.send_descriptors(connection, [descriptor])
        os.close(descriptor)
        told.append(passage.receive(connection))

    old = Old(path, answer)
    with pytest.raises(TakeoverError, match="cannot read"):
        ask(path, MemoryChannelLayer(), Options())
    old.thread.join(5)
    assert "cannot read" in told[0]["refused"]


def test_an_old_server_that_ends_the_conversation_and_lives_keeps_its_sockets(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interface_server.takeover.successor.END_SECONDS", 0.01)

    def answer(connection: socket.socket, theirs: dict[str, Any]) -> None:
        descriptor = memory_file(Estate(theirs, "daphne.x!").pack())
        passage.send(connection, {"descriptors": 3})
        socket.send_fds(connection, [b"D"], [descriptor])
        os.close(descriptor)

    old = Old(path, answer)  # its process is this one
    with pytest.raises(TakeoverError, match="has ended the conversation and goes on"):
        ask(path, MemoryChannelLayer(), Options())
    old.thread.join(5)


def test_a_state_that_is_no_file_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with pytest.raises(TakeoverError, match="cannot be read"):
        estate_from(reader)


# -- connections -----------------------------------------------------------------------------------

STATE: dict[str, Any] = {
    "local": "~abc", "path": "/p", "scope": {}, "root_path": "", "inbox": [], "paused": False, "turn": 3, "order": 2,
    "turn_open": False, "state": None, "stored_at": 0.0, "slow": None, "unsent": [], "lease": None, "ended": False,
    "since": 0.0, "client": None, "user": None,
}  # fmt: skip


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connections_leave_a_process_and_come_back(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def run() -> None:
        context, connections = QuietContext(takeover="on"), Connections(Shares(10, 1), lambda: None, lambda: None)
        ours, theirs = socket.socketpair()
        gone = {**STATE, "local": "~gone"}
        states = [
            {"inode": os.fstat(ours.fileno()).st_ino, "unsent": b"owed", "paused": False, "ping": None,
             "pinged_at": 0.0, "extensions": [], "connection": STATE},
            {"inode": 0, "connection": gone},
        ]  # fmt: skip
        adopting = asyncio.create_task(adopt(context, connections, states, [ours]))
        while not adopting.done():  # deadlines are checked meanwhile, too
            for ticking in list(context.tickers):
                ticking.tick(1.0)
            await asyncio.sleep(0)
        assert list(context.connections) == ["~abc"]
        assert [item["reply_channel"] for item in context.messages_on("websocket.disconnect")] == [
            context.name + "~gone"
        ]
        await settle(connections, 5)
        released, sockets = await release(context, connections)
        assert [state["connection"] for state in released] == [STATE]
        assert [state["unsent"] for state in released] == [b""]
        assert not context.connections
        assert not connections
        assert theirs.recv(100) == b"owed"
        for each in (*sockets, theirs):
            each.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(run(), 20))
    assert gc.isenabled()


# -- systemd ---------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        if request.param == "path":
            way.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            name = f"millrace-test-{os.getpid()}"
            way.bind(f"\0{name}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        way.settimeout(5)
        yield way


def test_systemd_is_told_in_its_words(way: socket.socket) -> None:
    systemd.notify("FDSTORE=1", "FDNAME=millrace", descriptors=[way.fileno()])
    data, [descriptor], _, _ = socket.recv_fds(way, 1_000, 10)
    assert data == b"FDSTORE=1\nFDNAME=millrace"
    os.close(descriptor)
    systemd.say_ready()
    assert way.recv(100) == b"READY=1"


def test_it_is_waited_for_until_systemd_has_let_go_of_the_barrier(
    way: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Thread(target=systemd.wait_until_heard)
    waiting.start()
    data, [descriptor], _, _ = socket.recv_fds(way, 1_000, 10)
    assert data == b"BARRIER=1"
    assert waiting.is_alive()
    os.close(descriptor)
    waiting.join(5)
    assert not waiting.is_alive()
    monkeypatch.setattr(systemd, "BARRIER_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        systemd.wait_until_heard()


def test_only_descriptors_of_its_name_and_for_its_process_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert systemd.kept() == []
    with ExitStack() as stack:
        # Two in a row, above those that the process has open.
        source = stack.enter_context(open(os.devnull))
        first = fcntl.fcntl(source, fcntl.F_DUPFD, 500)
        stack.callback(os.close, first)
        second = fcntl.fcntl(source, fcntl.F_DUPFD, first + 1)
        stack.callback(os.close, second)
        assert second == first + 1
        monkeypatch.setattr(systemd, "FIRST", first)
        monkeypatch.setenv("LISTEN_FDS", "2")
        monkeypatch.setenv("LISTEN_FDNAMES", "web.socket:millrace")
        monkeypatch.setenv("LISTEN_PID", "1")
        assert systemd.kept() == []
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        assert systemd.kept() == [second]


def test_what_is_not_there_for_systemd_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(OptionsError, match="is for a service of systemd"):
        check_takeover(Options(takeover="systemd"))
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    check_takeover(Options(takeover="systemd"))
    systemd.say_ready()
    systemd.forget()
    assert "systemd cannot be told that this process serves" in caplog.text
    assert "systemd keeps sockets open" in caplog.text
    monkeypatch.setattr("interface_server.cli.is_supported", lambda: False)
    with pytest.raises(OptionsError, match="--takeover needs Linux"):
        check_takeover(Options(takeover="systemd"))
