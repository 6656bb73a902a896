"""Stopping ``daphne`` when nothing goes as it should, as a real process."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from datetime import datetime
from pathlib import Path

from channel_layer.redis import RedisChannelLayer
from tests.conftest import free_port, running_redis, wait_until
from tests.end_to_end.processes import Service, daphne
from tests.interface_server.helpers import Workers, respond

GRACE = 3


def test_it_ends_in_time_with_endless_responses_open_and_redis_gone(redis_server: str, tmp_path: Path) -> None:
    port = free_port()
    command = [daphne(), "tests.fixtures.sockets_project.asgi:channel_layer", "-p", str(port)]
    command += ["--graceful-timeout", str(GRACE)]
    with running_redis(redis_server, tmp_path) as url:
        environment = {"REDIS_URL": url, "DJANGO_SETTINGS_MODULE": "tests.fixtures.sockets_project.settings"}
        web = Service("web", command, environment, tmp_path)
        layer = RedisChannelLayer(hosts=[url])
        workers = Workers(layer, {"http.request": respond(b"data: 1\n\n", more_content=True)})
        with web, contextlib.ExitStack() as stack:
            wait_until(lambda: "Listening" in web.text(), "daphne")
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(1_000).startswith(b"HTTP/1.1 200")
            workers.stop()
            layer.close()
            subprocess.run(["redis-cli", "-u", url, "SHUTDOWN", "NOSAVE"], check=True, capture_output=True)
            wait_until(lambda: "unavailable" in web.text(), "daphne to notice")
            web.stop()
            steps = [line.split() for line in web.text().splitlines() if re.search(r" INFO +Stop", line)]
            began, ended = (datetime.fromisoformat(f"{date} {clock}") for date, clock, *_ in (steps[0], steps[-1]))
            assert steps[-1][-1] == "Stopped"
            assert (ended - began).total_seconds() < GRACE + 2
