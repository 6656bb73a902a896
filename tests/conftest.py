"""Fixtures that every room's tests share."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from hypothesis import settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.sync.client import connect

from channel_layer import tracing
from tests.fixtures.rabbitmq_server import RabbitmqServer, program

# A run imports this code in hundreds of processes. Compiling it anew in each takes half of their time to start, so the
# compiled modules are kept even where the environment, as in many container images, asks for none.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would all processes that they start and
# end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("channel_layer.conformance")

# How long an example takes depends on what else the machine does. In CI, a failure is one that can be repeated.
settings.register_profile("millrace", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("millrace")

HANDSHAKE_SECONDS = 60.0
"""Time for the handshake of a WebSocket. The library's own ten seconds pass on a busy machine while nothing moves."""

connect.__kwdefaults__["open_timeout"] = HANDSHAKE_SECONDS

T = TypeVar("T")
Eventually = Callable[..., object]

SERVERS = ("redis-server", "valkey-server")
HOW_TO_INSTALL = (
    "these tests need a Redis server, version 7 or later, and none of "
    f"{' and '.join(SERVERS)} is on PATH. Install one, for example: sudo apt-get install redis-server"
)

HOW_TO_INSTALL_POSTGRES = (
    "these tests need PostgreSQL 13 or later; install it, for example: sudo apt-get install postgresql"
)

HOW_TO_INSTALL_RABBITMQ = (
    "these tests need RabbitMQ 3.8 or later; install it, for example: sudo apt-get install rabbitmq-server"
)
HOW_TO_INSTALL_PGBOUNCER = "these tests need PgBouncer; install it, for example: sudo apt-get install pgbouncer"

POSTGRES_SETTINGS = {
    "fsync": "off",
    "unix_socket_directories": "",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
}

PORTS = range(10_240, 32_768)
"""Where `free_port` looks: below what systems give to outgoing connections, which might take a port at any moment."""

CONNECT_SECONDS = 30.0
"""Time to connect to a Redis server. A busy machine takes longer than the layer allows, whose users try again then."""

DATABASES = 1000
"""Of the Redis server that tests share; one is empty when it is given out, and used by one test or module."""

MOST_PROCESSES = 12

BROWSERS = 2
"""How many browsers run at the same time."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Number of processes for ``-n auto``: more than processors, because many tests wait."""
    return min(2 * (os.cpu_count() or 1), MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share something expensive in one process, for ``--dist loadgroup``.

    What lives as long as a module is made once for each of its parameters. Tests without anything of that kind
    go to whichever process is free.
    """
    browsers: dict[str, str] = {}
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid} has an address in its name, so it has another in each process; give ids"
            )
        if item.get_closest_marker("xdist_group") is None and (shared := shared_fixtures(item)):
            parameters = getattr(item, "callspec", None)
            values = [
                f"{name}={parameters.indices[name]}" for name in shared if parameters and name in parameters.indices
            ]
            module = item.nodeid.partition("::")[0]
            group = "-".join([module, *values])
            if "browser" in shared:
                # A browser takes a processor or more for itself. By module: a run may leave out a parameter everywhere.
                group = browsers.setdefault(module, f"browsers-{len(browsers) % BROWSERS}")
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape in what a test printed and logged what a report cannot carry from one process to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections
    ]
    return report


def shared_fixtures(item: pytest.Item) -> list[str]:
    """Names of the fixtures of a test that it shares with others of its module."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return sorted(name for name, found in definitions.items() if found[-1].scope in ("class", "module", "package"))


def wait_until(condition: Callable[[], T], what: str = "", within: float = 60.0) -> T:
    """Call ``condition`` until it returns something true, and return that.

    Fails after ``within`` seconds, saying what was awaited and what the last answer was. The deadline
    is there to end a test that hangs; it measures nothing.
    """
    deadline = time.monotonic() + within
    pause = 0.002
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"{what or 'the condition'} did not come true within {within:g} s; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def close_answer(error: OSError) -> None:
    """Close an answer that came as an error. Python 3.14 warns of one that is left open."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()


@pytest.fixture
def eventually() -> Callable[..., object]:
    """The helper `wait_until`: ``eventually(lambda: layer.receive(["x"])[0], "a message on x")``."""
    return wait_until


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """Give loggers their levels back, which commands set for the process that they expect to have for themselves."""
    before = {logger: logger.level for logger in loggers()}
    yield
    for logger in loggers():
        # Setting a level, even to what it is, has every logger forget what it is enabled for: too much for each test.
        if logger.level != (level := before.get(logger, logging.NOTSET)):
            logger.setLevel(level)


def loggers() -> list[logging.Logger]:
    """All there are."""
    named = [one for one in list(logging.root.manager.loggerDict.values()) if isinstance(one, logging.Logger)]
    return [logging.root, *named]


class SmallDisk:
    """A device of 2 MiB, which `fill` leaves without a single byte."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def clear(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of its own in memory, which only root can have."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs root, and a system that lets it mount one")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Tracing is on; the spans that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.enable(provider)
    yield exporter
    tracing.leave()
    tracing.disable()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Path of a Redis or Valkey server's program, to which layers may connect for longer than in operation."""
    for name in SERVERS:
        path = shutil.which(name)
        if path is not None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("channel_layer.redis.hosts.CONNECT_SECONDS", CONNECT_SECONDS)
                yield path
            return
    if os.environ.get("CI"):
        pytest.fail(HOW_TO_INSTALL)
    pytest.skip(HOW_TO_INSTALL)


@pytest.fixture(scope="session")
def redis_url(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real server that belongs to this test run. Tests share it, each under its own prefix."""
    with running_redis(redis_server, tmp_path_factory.mktemp("redis"), "--databases", str(DATABASES)) as url:
        yield url


@pytest.fixture(scope="session")
def new_database(redis_url: str) -> Callable[[], str]:
    """``new_database()``: URL of a database of that server that nobody has used, for projects that set no prefix."""
    numbers = iter(range(1, DATABASES))
    return lambda: f"{redis_url.rpartition('/')[0]}/{next(numbers)}"


@contextlib.contextmanager
def running_redis(program: str, directory: Path, *arguments: str) -> Iterator[str]:
    """A server on a free port, ready for connections, with nothing on disk; gives its URL."""
    port = free_port()
    log = directory / "server.log"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--dir", str(directory), *arguments], stdout=output, stderr=output)
        try:
            wait_until(lambda: process.poll() is not None or _accepts(port), f"{program} on port {port}")
            if process.poll() is not None:
                pytest.fail(f"{program} ended at once; its log:\n{log.read_text(errors='replace')}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(20)


def postgres_program(name: str) -> str | None:
    """Path of a program of the server, which Debian keeps out of PATH."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(kept[-1]) if kept else shutil.which(name)


def of_the_server(directory: Path, *command: str) -> list[str]:
    """The command, and the directory given to the user who runs it: the server refuses to be started by root."""
    if os.getuid():
        return list(command)
    shutil.chown(directory, "postgres", "postgres")
    return ["runuser", "-u", "postgres", "--", *command]


@contextlib.contextmanager
def running_postgres(directory: Path, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on a free port, ready for connections; its DSN and its process."""
    initdb, postgres = postgres_program("initdb"), postgres_program("postgres")
    if initdb is None or postgres is None:
        if os.environ.get("CI"):
            pytest.fail(HOW_TO_INSTALL_POSTGRES)
        pytest.skip(HOW_TO_INSTALL_POSTGRES)
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "PG_VERSION").exists():
        made = of_the_server(data, initdb, "--pgdata", str(data), "--username", "tests", "--auth", "trust", "-N")
        subprocess.run(made, check=True, capture_output=True, cwd="/")
    port = port or free_port()
    options = [f"--{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
    command = of_the_server(data, postgres, "-D", str(data), "-p", str(port), *options)
    log = directory / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/")
    dsn = f"postgresql://tests@127.0.0.1:{port}/postgres"
    try:
        wait_until(lambda: process.poll() is not None or postgres_answers(dsn), f"PostgreSQL on port {port}")
        if process.poll() is not None:
            pytest.fail(f"PostgreSQL ended at once; its log:\n{log.read_text(errors='replace')}")
        yield dsn, process
    finally:
        process.terminate()
        process.wait(30)


def postgres_answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def running_pgbouncer(dsn: str, mode: str) -> Iterator[str]:
    """A PgBouncer in front of a server, with its ``pool_mode``; the DSN through it."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")  # where Debian puts it
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(HOW_TO_INSTALL_PGBOUNCER)
        pytest.skip(HOW_TO_INSTALL_PGBOUNCER)
    port = free_port()
    user, _, server = dsn.removeprefix("postgresql://").partition("/")[0].partition("@")
    host, _, server_port = server.partition(":")
    with server_directory() as directory:
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={host} port={server_port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n"
            f"logfile = {directory}/log\nmax_client_conn = 50\n"
        )
        process = subprocess.Popen(of_the_server(directory, program, "--quiet", str(settings)), cwd="/")
        through = f"postgresql://{user}@127.0.0.1:{port}/postgres"
        try:
            wait_until(lambda: process.poll() is not None or postgres_answers(through), "PgBouncer")
            assert process.poll() is None, f"PgBouncer ended at once, with status {process.returncode}"
            yield through
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def server_directory() -> Iterator[Path]:
    """A directory that other users can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="millrace-postgres-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A real server that the tests of this run share, each in a schema of its own."""
    with server_directory() as directory, running_postgres(directory) as (dsn, _):
        yield dsn


@contextlib.contextmanager
def running_rabbitmq(directory: Path, server: RabbitmqServer | None = None) -> Iterator[RabbitmqServer]:
    """A server with ports and files of its own, ready for connections."""
    if program("rabbitmq-server") is None:
        if os.environ.get("CI"):
            pytest.fail(HOW_TO_INSTALL_RABBITMQ)
        pytest.skip(HOW_TO_INSTALL_RABBITMQ)
    server = server or RabbitmqServer(directory, free_port(), free_port(), free_port())
    try:
        with server.running(wait_until):
            yield server
    finally:
        server.end_name_service()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitmqServer]:
    """A real server that the tests of this run share."""
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: RabbitmqServer) -> str:
    """Address of the shared server, for tests that have a prefix of their own."""
    return rabbitmq_server.url


def free_port() -> int:
    """A TCP port nobody listens on now. It is given out once, and to none of the other processes of this test run."""
    for port in _own_ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no TCP port is left to give out")


def _shuffled_ports() -> Iterator[int]:
    """This process's share of the ports, in an order in which another test run is unlikely to take them."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = list(PORTS[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))])
    random.SystemRandom().shuffle(own)
    return iter(own)


_own_ports = _shuffled_ports()


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
