"""The ``daphne`` command as a process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from channel_layer.draft import DraftChannelLayer
from interface_server.cli import endpoints_of, load_layer, main, options_of, spread_protocols
from interface_server.endpoints import Endpoint
from interface_server.options import Options
from tests.conftest import free_port, wait_until
from tests.fixtures.draft_layer import FileChannelLayer
from tests.interface_server.helpers import read_all, status_of

HOUSE = Path(__file__).resolve().parents[2]

PROJECT = """
import threading
from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer

class Layer(MemoryChannelLayer):
    local_only = False  # the worker is a thread of this process

layer = Layer()
alone = MemoryChannelLayer()
number = 7

class Away(Layer):
    def check(self):
        raise LayerUnavailable("redis://localhost:6379", "connection refused")

class Old(Layer):
    def check(self):
        raise LayerConfigurationError("Redis 6.2 is too old; version 7 or later is needed")

away = Away()
old = Old()

async def asgi(scope, receive, send):
    pass

def answer():
    while True:
        for item in layer.receive_batch(["http.request"], limit=10, timeout=1):
            answer = {"status": 200, "content": item.message["path"].encode()}
            if item.message["path"] == "/endless":
                answer["more_content"] = True
            layer.send(item.message["reply_channel"], answer)

threading.Thread(target=answer, daemon=True).start()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    return tmp_path


def command(project: Path, *arguments: str, files: int | None = None) -> subprocess.Popen[str]:
    """The command in a directory; ``files`` is how many the system lets it open."""
    environment = os.environ | {"PYTHONPATH": str(HOUSE), "PYTHONUNBUFFERED": "1"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)  # other tests of this process may have set it
    limit = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []
    return subprocess.Popen(
        [*limit, sys.executable, "-m", "interface_server.cli", *arguments], cwd=project, text=True,
        env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextlib.contextmanager
def daphne(project: Path, *arguments: str, files: int | None = None) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running command and its port. What it said before it listened stays to be read."""
    process = command(project, *arguments, "-p", "0", files=files)
    assert process.stderr is not None
    seen = []
    try:
        for line in process.stderr:
            seen.append(line)
            found = re.search(r"Listening on http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            pytest.fail("daphne ended: " + "".join(seen))
        yield process, int(found.group(1))
    finally:
        process.kill()
        process.communicate()


def ask(port: int, path: str = "/hello") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return read_all(connection)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_writes_an_access_log_and_ends_with_0(project: Path, number: signal.Signals) -> None:
    with daphne(project, "project:layer") as (process, port):
        response = ask(port, "/hello?a=%0Ab")
        assert status_of(response) == 200
        assert response.endswith(b"/hello")
        process.send_signal(number)
        output, errors = process.communicate(timeout=40)
        assert process.returncode == 0
        assert re.search(r'^127\.0\.0\.1:\d+ - - \[.+\] "GET /hello\?a=%0Ab HTTP/1\.1" 200 6', output)
        assert "Traceback" not in errors


def test_a_second_interrupt_waits_for_nothing(project: Path) -> None:
    with (
        daphne(project, "project:layer", "--graceful-timeout", "600") as (process, port),
        socket.create_connection(("127.0.0.1", port), 20) as connection,
    ):
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "Stopping: waiting" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
        assert process.returncode == 0


def test_a_control_character_cannot_break_a_log_line(project: Path) -> None:
    with daphne(project, "project:layer") as (process, port):
        ask(port, "/a%0A127.0.0.1%20-%20-%22")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=40)
        assert output.count("\n") == 1
        assert r"/a\x0a127.0.0.1 - -\x22" in output


def test_verbosity_2_shows_each_message(project: Path) -> None:
    with daphne(project, "project:layer", "-v2") as (process, port):
        ask(port, "/shown")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=40)
        assert "GET /shown" in errors
        assert "to http.request" in errors
        assert "['content', 'status']" in errors


def test_the_log_may_be_json(project: Path) -> None:
    process = command(project, "project:layer", "-p", "0", "--log-format", "json")
    assert process.stderr is not None
    first = process.stderr.readline()
    process.terminate()
    _, rest = process.communicate(timeout=40)
    assert "Listening on http://" in json.loads(first)["message"]
    assert [json.loads(line)["level"] for line in rest.splitlines()] == ["INFO"] * rest.count("\n")


def test_the_access_log_may_be_a_file(project: Path) -> None:
    with daphne(project, "project:layer", "--access-log", "access.log") as (process, port):
        ask(port)
        log = project / "access.log"
        wait_until(lambda: "GET /hello" in log.read_text(), "the line")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=40)[0] == ""


def test_a_layer_that_is_away_is_a_warning_and_the_server_starts(project: Path) -> None:
    process = command(project, "project:away", "-p", "0")
    assert process.stderr is not None
    lines = [process.stderr.readline(), process.stderr.readline()]
    process.terminate()
    process.communicate(timeout=40)
    assert "channel layer at redis://localhost:6379 is unavailable: connection refused" in lines[0]
    assert "Listening on" in lines[1]
    assert process.returncode == 0


def test_too_few_open_files_are_said_at_the_start(project: Path) -> None:
    process = command(project, "project:layer", "-p", "0", files=256)
    assert process.stderr is not None
    line = process.stderr.readline()
    process.terminate()
    process.communicate(timeout=40)
    assert re.search(
        r"the system allows 256 open files, enough for 1\d\d connections and not for 10000 \(--max-connections\); "
        r"further ones get 503. Allow 10804: ulimit -n, or LimitNOFILE= in systemd",
        line,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere:layer"], "there is no module 'nowhere' to import 'nowhere:layer' from"),
        (["project:nothing"], "the module 'project' has no 'nothing'"),
        (["project"], "'project' is not the path of an application or a channel layer; write module:attribute"),
        (["project:asgi"], "Django cannot be set up: Requested setting"),
        (["project:Away"], "'project:Away' is the class Away, not an ASGI application or a channel layer"),
        (["project:number"], "'project:number' is of type int, not an ASGI application or a channel layer"),
        (
            ["project:alone"],
            "(MemoryChannelLayer) reaches no further than one process, so no worker would ever get a message",
        ),
        (["project:old"], "Redis 6.2 is too old; version 7 or later is needed"),
        (["project:layer", "--ssl-certfile", "none.pem"], "cannot serve TLS: there is no file none.pem"),
        (["project:layer", "--ssl-keyfile", "none.pem"], "needs a certificate"),
        (["project:layer", "--http-timeout", "0"], "http_timeout must be above 0, not 0"),
        (["project:layer", "--trusted-proxy", "router"], "which is not an IP address"),
        (["project:layer", "-u", "web.sock", "--unix-socket-mode", "rw"], "'rw' is not a mode of a socket"),
        (["project:layer", "--unix-socket-mode", "0660"], "--unix-socket-mode goes with --unix-socket"),
        (["project:layer", "-e", "udp:1"], "is of no known kind"),
        (["project:layer", "--access-log", "/nowhere/log"], "cannot write the access log /nowhere/log"),
        (
            ["project:layer", "--spool-dir", "/nowhere"],
            "cannot keep large bodies in /nowhere: No such file",
        ),
        (["project:layer", "--fd", "99"], "cannot listen on file descriptor 99"),
        (["project:layer", "--health-path", "healthz"], "begins with '/', which 'healthz' does not"),
        (["project:layer", "--health-path", "/x", "--ready-path", "/x"], "must differ from each other"),
        (["project:layer", "--metrics-path", "/metrics"], "metrics_path and metrics_allow go together"),
        (["project:layer", "--metrics-allow", "10.0.0.0/8"], "metrics_path and metrics_allow go together"),
        (["project:layer", "--metrics-path", "/m", "--metrics-allow", "here"], "metrics_allow holds 'here'"),
        (["project:layer", "--ready-needs-worker"], "ready_needs_worker goes with ready_path or metrics"),
        (["project:layer", "--metrics", "here"], "'here' cannot be a place for metrics"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(project: Path, arguments: list[str], sentence: str) -> None:
    process = command(project, *arguments)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 1
    assert errors.startswith("Error: ")
    assert sentence in errors
    assert errors.count("\n") == 1
    assert output == ""


def test_a_disk_that_takes_no_more_costs_large_requests_alone(project: Path) -> None:
    with daphne(project, "project:layer", "--spool-dir", str(project)) as (process, port):
        # The least that a full disk can be, for one process: what goes beyond it fails.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    connection.sendall(bytes(2_000_000))
                assert status_of(read_all(connection)) == 503
        assert ask(port, "/hello").endswith(b"/hello")
        process.terminate()
        _, errors = process.communicate(timeout=40)
    assert "the body of POST / cannot be kept: [Errno 27] File too large" in errors


def test_a_port_in_use_is_one_sentence(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(project, "project:layer", "-p", str(port))
        _, errors = process.communicate(timeout=40)
        assert process.returncode == 1
        assert errors == (
            f"Error: cannot listen on 127.0.0.1:{port}: it is in use already; "
            "stop the other program or choose another one.\n"
        )


@pytest.mark.parametrize("options", [["--metrics", "0"], ["--metrics-path", "/m", "--metrics-allow", "127.0.0.1"]])
def test_metrics_without_the_extra_are_one_sentence(project: Path, options: list[str]) -> None:
    (project / "prometheus_client.py").write_text("raise ImportError")
    process = command(project, "project:layer", *options)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 1
    how = "install it: pip install 'django-millrace[metrics]'"
    assert errors == f"Error: {options[0]} needs the package prometheus-client; {how}.\n"


def test_metrics_and_health_have_a_port_of_their_own_until_the_end(project: Path) -> None:
    pytest.importorskip("prometheus_client")
    own = free_port()
    with daphne(project, "project:layer", "--metrics", str(own)) as (process, port):
        assert ask(port, "/hello").endswith(b"/hello")
        wait_until(lambda: ask(own, "/-/readyz").endswith(b"ok\n"), "the server to be ready")
        assert b'millrace_requests_total{status="200"} 1.0' in ask(own, "/metrics")
        process.terminate()
        output, _ = process.communicate(timeout=40)
        assert process.returncode == 0
    assert output.count("\n") == 1  # the access log has the application's request alone


def test_an_error_inside_the_users_module_keeps_its_traceback(project: Path) -> None:
    process = command(project, "broken:layer")
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 1
    assert "nothing_of_that_name" in errors
    assert "Traceback" in errors


def parse(*arguments: str) -> dict[str, object]:
    context = main.make_context("daphne", ["a:b", *arguments])
    return context.params


def test_without_options_it_listens_on_port_8000_of_loopback_with_the_defaults() -> None:
    values = parse()
    assert endpoints_of(values) == [Endpoint(host="127.0.0.1", port=8000)]
    assert options_of(values) == Options(access_log="-")


def test_every_old_option_is_understood() -> None:
    values = parse(
        "-p", "80", "-b", "0.0.0.0", "-u", "/run/x", "--fd", "3", "-e", "tcp:81", "-v", "2", "-t", "120",
        "--access-log", "a.log", "--ping-interval", "30", "--ping-timeout", "40", "--websocket_timeout", "100",
        "--websocket_connect_timeout", "7", "--ws-protocol", "a", "--ws-protocol", "b", "--root-path", "/app/",
        "--proxy-headers", "--force-sync",
    )  # fmt: skip
    assert endpoints_of(values) == [
        Endpoint(host="", port=81), Endpoint(path="/run/x"), Endpoint(fd=3), Endpoint(host="0.0.0.0", port=80),
    ]  # fmt: skip
    assert options_of(values) == Options(
        verbosity=2, http_timeout=120, access_log="a.log", ping_interval=30, ping_timeout=40, websocket_life=100,
        accept_timeout=7, subprotocols=("a", "b"), root_path="/app", proxy_headers=True,
    )  # fmt: skip


def test_a_unix_socket_has_a_mode() -> None:
    assert endpoints_of(parse("--reuse-port", "-e", "tcp:1")) == [Endpoint(host="", port=1, reuse_port=True)]
    assert endpoints_of(parse("-u", "/run/x", "--unix-socket-mode", "0666")) == [Endpoint(path="/run/x", mode=0o666)]


def test_minus_one_is_no_limit_where_it_always_was() -> None:
    given = main.make_context("daphne", ["x:y", "--websocket_timeout", "-1", "--ping-timeout", "-1"]).params
    assert (given["websocket_life"], given["ping_timeout"]) == (0, 0)


def test_every_option_can_be_set_on_the_command_line() -> None:
    assert set(vars(Options())) <= set(parse())


def test_help_names_every_option() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in ("--port", "--bind", "--unix-socket", "--endpoint", "--max-connections", "--body-max", "--unordered"):
        assert name in result.output


@pytest.mark.parametrize(
    ("given", "protocols"),
    [
        ("p:l --ws-protocol a b", ("a", "b")),
        ("--ws-protocol a b p:l -v0", ("a", "b")),
        ("--ws-protocol a --ws-protocol b p:l", ("a", "b")),
        ("--ws-protocol=a p:l", ("a",)),
        ("--ws-protocol a -p 1 p:l", ("a",)),
        ("--ws-protocol a b -- p:l", ("a", "b")),
        ("p:l --ws-protocol", ()),
        ("p:l", ()),
    ],
)
def test_one_option_may_name_several_subprotocols(given: str, protocols: tuple[str, ...]) -> None:
    context = main.make_context("daphne", given.split())
    assert context.params["subprotocols"] == protocols
    assert context.params["channel_layer"] == "p:l"


def test_a_layer_for_channels_1_is_served_behind_its_adapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draft = FileChannelLayer(str(tmp_path / "layer"))
    monkeypatch.setitem(sys.modules, "old_project", SimpleNamespace(layer=draft))
    layer = load_layer("old_project:layer")
    assert isinstance(layer, DraftChannelLayer)
    assert layer.draft is draft


def test_words_behind_another_option_are_no_subprotocols() -> None:
    assert spread_protocols(["--ws-protocol", "a", "-b", "host", "p:l"]) == ["--ws-protocol", "a", "-b", "host", "p:l"]
