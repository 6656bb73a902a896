"""The configurations of proxies are valid, for the program itself, and carry WebSockets past a server that stops."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from tests.conftest import close_answer, free_port, wait_until
from tests.end_to_end.processes import Project, Service, daphne

from .pages import DOCS, blocks

yaml = pytest.importorskip("yaml")

PAGE = DOCS / "load-balancing.md"
DEPLOYING = DOCS / "deploying.md"


def program(name: str) -> str:
    """Path of a proxy; many machines have none."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def nginx(site: str, directory: Path) -> list[str]:
    """The command for a site, of an nginx that leaves the machine's own alone."""
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off; pid {directory}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{site}\n}}\n"
    )
    return [program("nginx"), "-c", str(main), "-e", "stderr"]


def haproxy(text: str, directory: Path) -> list[str]:
    file = directory / "haproxy.cfg"
    file.write_text(f"global\n    maxconn 100\n\n{text}")
    return [program("haproxy"), "-f", str(file)]


PROXIES = {"nginx": (nginx, "nginx", "-t"), "haproxy": (haproxy, "text", "-c")}
"""Of each: the command for a configuration, its language on the page, the option that only checks it."""


@pytest.mark.parametrize("name", PROXIES)
def test_a_configuration_is_valid(name: str, tmp_path: Path) -> None:
    command, language, check = PROXIES[name]
    [text] = blocks(PAGE, language)
    done = subprocess.run([*command(text, tmp_path), check], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_site_in_the_guide_to_deploying_is_valid(tmp_path: Path) -> None:
    [site] = blocks(DEPLOYING, "nginx")
    command = [*nginx(site.replace("listen 443 ssl", "listen 8080"), tmp_path), "-t"]  # nobody's certificate is here
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_for_traefik_are_yaml() -> None:
    [text] = blocks(PAGE, "yaml")
    service = yaml.safe_load(text)["http"]["services"]["web"]["loadBalancer"]
    assert service["healthCheck"]["path"] == "/-/readyz"


@pytest.fixture(params=PROXIES)
def site(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Iterator[tuple[Project, str]]:
    """Two web servers of the demo behind a proxy: the project, and the proxy's address."""
    command, language, _ = PROXIES[request.param]
    port, second = free_port(), free_port()
    project = Project("demo", tmp_path, {"REDIS_URL": redis_url, "ALLOWED_HOSTS": "*"}, workers=1)
    options = ["--proxy-headers", "--ready-path", "/-/readyz", "--drain-seconds", "1"]
    project.web.command += options
    other = Service(
        "web-2", [daphne(), "demo.asgi:channel_layer", "-p", str(second), *options], project.environment, tmp_path
    )
    [text] = blocks(PAGE, language)
    text = text.replace(":8001", f":{project.port}").replace(":8002", f":{second}")
    text = re.sub(r"(bind :|listen )8080", rf"\g<1>{port}", text)
    with project, other:
        wait_for(f"http://127.0.0.1:{second}")
        with Service("proxy", command(text, tmp_path), {}, tmp_path):
            wait_for(f"http://127.0.0.1:{port}")
            yield project, f"127.0.0.1:{port}"


def wait_for(address: str) -> None:
    wait_until(lambda: answers(address), f"{address} answering", within=30)


def answers(address: str) -> bool:
    """True if a page comes from there."""
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return bool(response.status == 200)
    except OSError as error:
        close_answer(error)
        return False


@pytest.mark.slow
def test_sockets_and_requests_go_past_a_server_that_stops(site: tuple[Project, str]) -> None:
    project, proxy = site

    async def until_closed(socket: ClientConnection) -> str:
        try:
            async for _ in socket:
                pass
        except ConnectionClosed:
            pass
        return f"{socket.close_code} {socket.close_reason}"

    async def check() -> list[str]:
        # The proxies have loopback addresses, which are trusted: so the client is whoever they say they speak for.
        client = {"X-Forwarded-For": "192.0.2.7"}
        url, origin = f"ws://{proxy}/prices/bitcoin/", Origin(f"http://{proxy}")
        sockets = [await connect(url, origin=origin, additional_headers=client) for _ in range(4)]
        listening = [asyncio.create_task(until_closed(socket)) for socket in sockets]
        stopping = project.web.running
        stopping.terminate()
        while stopping.poll() is None:
            assert await asyncio.to_thread(answers, f"http://{proxy}"), project.logs()
        assert await asyncio.to_thread(answers, f"http://{proxy}"), project.logs()
        ends = asyncio.as_completed(listening, timeout=10)
        closed = [await next(ends) for _ in range(2)]  # of four, by least connections
        assert len([task for task in listening if task.done()]) == 2
        for socket in sockets:
            await socket.close()
        return closed

    closed = asyncio.run(check())
    assert project.web.text().count("192.0.2.7:0 - - [") >= 4  # asked for and accepted, two sockets
    assert all(re.fullmatch(r"1012 service restart; reconnect=\d+", end) for end in closed), closed
