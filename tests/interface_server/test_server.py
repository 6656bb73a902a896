"""Starting and stopping a server, where it listens, and what clients and consumers see of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

from channel_layer.delivery import Delivery
from channel_layer.memory import MemoryChannelLayer
from interface_server.application import Application
from interface_server.endpoints import Endpoint, EndpointError
from interface_server.options import Options
from interface_server.server import build_server
from tests.conftest import wait_until
from tests.interface_server.helpers import Workers, body_of, read_all, running, silent, status_of


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = build_server(Application(MemoryChannelLayer()), endpoints=[Endpoint(port=port)])
        with pytest.raises(EndpointError) as caught:
            server.run()
        assert str(caught.value) == (
            f"cannot listen on 127.0.0.1:{port}: it is in use already; stop the other program or choose another one"
        )


def test_it_serves_sockets_that_it_is_given() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = build_server(Application(MemoryChannelLayer(), Options(http_timeout=0.1)), endpoints=[])
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_until(lambda: server.started, "the server")
    with socket.create_connection(listener.getsockname()) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert status_of(read_all(connection)) == 504
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def test_stopping_tells_every_client_1012_and_sends_every_disconnect() -> None:
    count = 100
    codes: list[int] = []

    def stay(url: str) -> None:
        with connect(url) as client:
            client.send("here")
            client.recv(timeout=20)
            here.release()
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=30)
            codes.append(caught.value.rcvd.code if caught.value.rcvd else 0)

    here = threading.Semaphore(0)
    with running(graceful_timeout=30) as server, ThreadPoolExecutor(count) as pool:
        clients = [pool.submit(stay, server.url()) for _ in range(count)]
        for _ in range(count):
            assert here.acquire(timeout=30)
        server.stop()
        for client in clients:
            client.result(30)
        left = server.workers.wait_for("websocket.disconnect", count)
        assert codes == [1012] * count
        assert len(left) == count
        assert len({item.message["reply_channel"] for item in left}) == count
        assert {item.message["code"] for item in left} == {1012}


def test_stopping_lets_a_request_in_flight_finish() -> None:
    with running({"http.request": silent}, graceful_timeout=30) as server, server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        request = server.workers.wait_for("http.request")[0]
        server.server.should_exit = True
        wait_until(lambda: server.context.stopping, "the server to begin to stop")
        server.workers.reply(request, {"status": 200, "content": b"finished"})
        response = read_all(connection)
        assert body_of(response) == b"finished"
        assert b"connection: close" in response


def test_stopping_waits_for_the_turn_and_then_sends_the_disconnect_all_the_same() -> None:
    with running({"websocket.receive": silent}, graceful_timeout=2) as server, connect(server.url()) as client:
        client.send("never finished")
        server.workers.wait_for("websocket.receive")
        server.stop()
        assert len(server.workers.wait_for("websocket.disconnect")) == 1


def test_it_serves_a_unix_socket_and_leaves_no_file_behind(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    layer = MemoryChannelLayer()
    server = build_server(Application(layer), endpoints=[Endpoint(path=str(path))])
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server")
    workers = Workers(layer)
    with unix_connect(str(path), "ws://unix/") as client:
        client.send("x")
        assert client.recv(timeout=20) == "x"
    assert workers.on("websocket.connect")[0].message["client"] is None
    server.should_exit = True
    thread.join(20)
    workers.stop()
    assert not path.exists()


def test_it_serves_tls_beside_plain_connections(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    layer = MemoryChannelLayer()
    endpoints = [Endpoint(port=0), Endpoint(port=0, key_file=str(key), cert_file=str(certificate))]
    server = build_server(Application(layer), endpoints=endpoints)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the server")
    workers = Workers(layer)
    assert [address.partition(":")[0] for address in server.addresses] == ["http", "https"]
    context = ssl.create_default_context(cafile=str(certificate))
    with connect(server.addresses[1].replace("https", "wss").replace("127.0.0.1", "localhost"), ssl=context) as client:
        client.send("secret")
        assert client.recv(timeout=20) == "secret"
    assert workers.on("websocket.connect")[0].message["scheme"] == "wss"
    server.should_exit = True
    thread.join(20)
    workers.stop()


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A key and a self-signed certificate for localhost."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, certificate


def test_a_second_run_of_an_application_begins_anew() -> None:
    application = Application(MemoryChannelLayer(), Options(http_timeout=0.1))
    for _ in range(2):
        server = build_server(application, endpoints=[Endpoint(port=0)])
        thread = threading.Thread(target=server.run)
        thread.start()
        wait_until(lambda: server.started, "the server")  # noqa: B023 - called before the loop goes on
        port = int(server.addresses[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert status_of(read_all(connection)) == 504
        server.should_exit = True
        thread.join(20)


def test_a_reply_sent_while_the_server_stops_still_arrives() -> None:
    def last_words(workers: Workers, delivery: Delivery) -> None:
        workers.reply(delivery, {"text": "last", "close": True})

    with running({"websocket.receive": last_words}) as server, connect(server.url()) as client:
        client.send("x")
        assert client.recv(timeout=20) == "last"
