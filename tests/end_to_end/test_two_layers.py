"""Two layers in one project, over two brokers: a web server and a worker for each, as real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.channel_layer.redis.conftest import OwnRedis, own_servers
from tests.conftest import free_port
from tests.end_to_end.processes import Project, Service, daphne
from tests.fixtures.freezing import frozen

pytestmark = pytest.mark.slow

PACKAGE = "tests.fixtures.two_layers_project"
SECONDS = 30


class TwoLayers(Project):
    """The project with the processes of its second layer."""

    def __init__(self, redis_url: str, directory: Path, **environment: str) -> None:
        environment |= {"REDIS_URL": redis_url, "CHANNEL_FILE": str(directory / "operators.sqlite3")}
        super().__init__(PACKAGE, directory, environment, workers=1)
        self.operators_port = free_port()
        command = [daphne(), f"{PACKAGE}.asgi:operators_layer", "-p", str(self.operators_port)]
        self.operators_web = Service("operators-web", command, self.environment, directory)
        worker = [*self.manage, "runworker", "--layer", "operators"]
        self.workers.append(Service("operators-worker", worker, self.environment, directory))

    def start(self) -> None:
        self.operators_web.start()
        super().start()
        self.wait_to_say("Worker on channel layer 'operators'")
        self.operators_web.wait_to_say("Listening on")

    def kill(self) -> None:
        self.operators_web.kill()
        super().kill()

    def logs(self) -> str:
        return super().logs() + self.operators_web.text()

    def deploy(self) -> None:
        """Replace the worker of the site."""
        old = self.workers[0]
        new = self.workers[0] = Service("worker-2", old.command, self.environment, old.log.parent)
        new.start()
        new.wait_to_say("it listens on", within=SECONDS)
        old.stop()


Open = Callable[[str], ClientConnection]


@pytest.fixture(scope="module")
def project(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoLayers]:
    with TwoLayers(new_database(), tmp_path_factory.mktemp("layers")) as project:
        try:
            yield project
        finally:
            print(project.logs())


@contextmanager
def opening(project: TwoLayers) -> Iterator[Open]:
    """A function that opens sockets, which are closed at the end of the block."""
    with ExitStack() as stack:

        def open_socket(path: str) -> ClientConnection:
            port = project.operators_port if path.startswith("/operators") else project.port
            url = f"ws://127.0.0.1:{port}{path.removeprefix('/operators')}"
            return stack.enter_context(connect(url, open_timeout=SECONDS, close_timeout=1, ping_interval=None))

        yield open_socket


@pytest.fixture
def open_socket(project: TwoLayers) -> Iterator[Open]:
    with opening(project) as open_socket:
        yield open_socket


def exchange(socket: ClientConnection, text: str) -> str:
    socket.send(text)
    return str(socket.recv(SECONDS))


def test_a_consumer_answers_on_one_layer_and_sends_to_a_group_on_the_other(open_socket: Open) -> None:
    operator, visitor = open_socket("/operators/watch/"), open_socket("/site/")
    assert exchange(visitor, "hello") == "1: hello"
    assert operator.recv(SECONDS) == "said: hello"
    assert exchange(visitor, "again") == "2: again", "the session rides with the connection"
    assert operator.recv(SECONDS) == "said: again"
    assert exchange(visitor, "job") == "3: job"
    assert visitor.recv(SECONDS) == "done", "from the worker of the other layer"
    operator.recv(SECONDS)
    operator.send("close the doors")
    assert visitor.recv(SECONDS) == "order 1: close the doors"


def test_a_view_sends_to_a_group_of_the_other_layer(project: TwoLayers, open_socket: Open) -> None:
    operator = open_socket("/operators/watch/")
    project.wait_for_page("/?by=Ada")
    assert operator.recv(SECONDS) == "visit of Ada"


@pytest.mark.parametrize("path", ["/hosted/", "/operators/hosted/"], ids=["another layer", "the same layer"])
def test_an_application_of_channels_4_uses_the_layer_that_its_class_names(open_socket: Open, path: str) -> None:
    operator, one, other = open_socket("/operators/watch/"), open_socket(path), open_socket(path)
    assert exchange(one, "hello") == other.recv(SECONDS) == "hello"
    operator.send("rain")
    assert one.recv(SECONDS) == other.recv(SECONDS) == "news: rain"


def test_a_deploy_carries_what_hands_itself_over_and_closes_what_has_a_channel_on_another_layer(
    project: TwoLayers, open_socket: Open
) -> None:
    operator, ticker, other = open_socket("/operators/watch/"), open_socket("/ticker/"), open_socket("/hosted/")
    before = exchange(ticker, "who")
    assert exchange(other, "hello") == ticker.recv(SECONDS) == "hello"
    project.deploy()
    assert exchange(ticker, "who") != before
    operator.send("sun")
    assert ticker.recv(SECONDS) == "news: sun"
    with pytest.raises(ConnectionClosed) as closed:
        other.recv(SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


@pytest.fixture
def operators_redis(redis_server: str, tmp_path: Path) -> Iterator[OwnRedis]:
    """The server of the operators' layer, which may stand still."""
    with own_servers(redis_server, tmp_path, 1) as [server]:
        yield server


def standing_still(server: OwnRedis) -> AbstractContextManager[None]:
    """A block in which a server does nothing."""
    assert server.process is not None
    return frozen(server.process.pid)


@pytest.fixture
def over_two_servers(new_database: Callable[[], str], operators_redis: OwnRedis, tmp_path: Path) -> Iterator[TwoLayers]:
    """The project over that server and another one; not started yet, and its worker stops without much ado."""
    project = TwoLayers(new_database(), tmp_path, OPERATORS_REDIS_URL=operators_redis.url)
    project.workers[0].command += ["--grace", "2"]
    yield project
    print(project.logs())


def test_while_the_broker_of_one_layer_stands_still_the_other_is_served_and_then_everything_arrives_in_order(
    over_two_servers: TwoLayers, operators_redis: OwnRedis
) -> None:
    paths = ("/site/", "/async/", "/echo/", "/echo/sync/")
    with over_two_servers as project, opening(project) as open_socket:
        operator = open_socket("/operators/watch/")
        sockets = {path: open_socket(path) for path in paths}
        with standing_still(operators_redis):
            project.wait_for_page("/?by=Ada")
            for number in range(1, 31):
                for path, socket in sockets.items():
                    answer = exchange(socket, f"{path} {number}")
                    assert answer.removeprefix(f"{number}: ") == f"{path} {number}"
            for path in paths:
                assert exchange(open_socket(path), "fresh").removeprefix("1: ") == "fresh", path
            project.wait_for_page("/?by=Grace")
        texts = (text for text in iter(lambda: operator.recv(SECONDS), None) if text != "visit of nobody")
        heard = [str(text) for text in islice(texts, 2 * 30 + 4)]
        for path in ("/site/", "/async/"):
            said = [text for text in heard if path in text]
            assert said == [f"said: {path} {number}" for number in range(1, 31)]
        assert heard[0] == "visit of Ada"
        assert sorted(heard[-3:]) == ["said: fresh", "said: fresh", "visit of Grace"]


def test_a_worker_that_stops_while_the_broker_of_another_layer_stands_still_has_answered_on_its_own(
    over_two_servers: TwoLayers, operators_redis: OwnRedis
) -> None:
    with over_two_servers as project, opening(project) as open_socket:
        operator, visitor, worker = open_socket("/operators/watch/"), open_socket("/site/"), project.workers[0]
        assert exchange(visitor, "first") == "1: first"
        while operator.recv(SECONDS) != "said: first":  # so that nothing is on its way, not even of the start
            pass
        with standing_still(operators_redis):
            assert exchange(visitor, "hello") == "2: hello"
            assert exchange(visitor, "bye") == "3: bye"
            worker.stop()
        worker.wait_to_say("1 messages may be lost: redis://", "1 messages dropped: there is no more time for redis://")
