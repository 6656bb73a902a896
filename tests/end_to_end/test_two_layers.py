"""Two layers in one project, over two brokers: a web server and a worker for each, as real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import free_port
from tests.end_to_end.processes import Project, Service, daphne

pytestmark = pytest.mark.slow

PACKAGE = "tests.fixtures.two_layers_project"
SECONDS = 30


class TwoLayers(Project):
    """The project with the processes of its second layer."""

    def __init__(self, redis_url: str, directory: Path) -> None:
        environment = {
            "REDIS_URL": redis_url,
            "CHANNEL_FILE": str(directory / "operators.sqlite3"),
        }
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


@pytest.fixture
def open_socket(project: TwoLayers) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_socket(path: str) -> ClientConnection:
            port = project.operators_port if path.startswith("/operators") else project.port
            url = f"ws://127.0.0.1:{port}{path.removeprefix('/operators')}"
            return stack.enter_context(connect(url, open_timeout=SECONDS, close_timeout=1, ping_interval=None))

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
