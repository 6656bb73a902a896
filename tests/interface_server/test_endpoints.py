from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from interface_server.endpoints import Endpoint, EndpointError, address_of


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp:8000", Endpoint(host="", port=8000)),
        ("tcp:port=8000:interface=127.0.0.1", Endpoint(host="127.0.0.1", port=8000)),
        (r"tcp:8000:interface=\:\:1", Endpoint(host="::1", port=8000)),
        ("unix:/run/x.sock", Endpoint(path="/run/x.sock")),
        ("unix:address=/run/x.sock:mode=660", Endpoint(path="/run/x.sock", mode=0o660)),
        ("unix:/run/x.sock:mode=0666", Endpoint(path="/run/x.sock", mode=0o666)),
        ("ssl:443:privateKey=k.pem:certKey=c.pem", Endpoint(host="", port=443, key_file="k.pem", cert_file="c.pem")),
        ("ssl:443:privateKey=both.pem", Endpoint(host="", port=443, key_file="both.pem", cert_file="both.pem")),
        ("fd:3", Endpoint(fd=3)),
        ("fd:fileno=3", Endpoint(fd=3)),
    ],
)
def test_twisted_strings_are_understood(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize("text", ["", "udp:1", "tcp", "tcp:eighty", "unix", "ssl:interface=x", "fd:"])
def test_what_is_no_endpoint_is_one_sentence_that_quotes_it(text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("mode", ["888", "", "rw-rw----", "1777", "0o660", "-1"])
def test_what_is_no_mode_is_one_sentence(mode: str) -> None:
    with pytest.raises(EndpointError, match="in octal"):
        Endpoint.parse(f"unix:/run/x.sock:mode={mode}")


@pytest.mark.parametrize(
    ("text", "mode"), [("unix:{}", 0o660), ("unix:{}:mode=666", 0o666), ("unix:address={}:mode=0600", 0o600)]
)
def test_a_unix_socket_is_open_to_owner_and_group_or_as_it_is_told(tmp_path: Path, text: str, mode: int) -> None:
    path = tmp_path / "s"
    with Endpoint.parse(text.format(path)).bind():
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_an_address_is_what_a_browser_takes() -> None:
    with Endpoint(port=0).bind() as listener:
        port = listener.getsockname()[1]
        assert address_of(listener, tls=False) == f"http://127.0.0.1:{port}"
        assert address_of(listener, tls=True) == f"https://127.0.0.1:{port}"


def test_a_socket_that_is_served_is_not_taken_over(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with Endpoint(path=path).bind(), pytest.raises(EndpointError, match="in use already"):
        Endpoint(path=path).bind()
    with Endpoint(path=path).bind() as listener:
        assert address_of(listener, tls=False) == f"unix:{path}"


def test_two_servers_share_a_port_if_both_ask_for_it(tmp_path: Path) -> None:
    with Endpoint(port=0, reuse_port=True).bind() as first:
        port = first.getsockname()[1]
        with Endpoint(port=port, reuse_port=True).bind() as second:
            assert second.getsockname()[1] == port
        with pytest.raises(EndpointError, match="in use already"):
            Endpoint(port=port).bind()
    with pytest.raises(EndpointError, match="--reuse-port is for a host and a port, not for file descriptor 3"):
        Endpoint(fd=3, reuse_port=True).bind()
    with pytest.raises(EndpointError, match=r"not for /run/x\.sock; leave it away"):
        Endpoint(path="/run/x.sock", reuse_port=True).bind()


def test_a_system_without_shared_ports_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(EndpointError, match="does not let two processes share a port; leave --reuse-port away"):
        Endpoint(port=0, reuse_port=True).bind()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(EndpointError):
        Endpoint(path=str(path)).bind()
    assert path.read_text() == "data"


def test_a_descriptor_is_used_as_it_is() -> None:
    original = socket.create_server(("127.0.0.1", 0))
    with Endpoint(fd=original.detach()).bind() as listener:
        assert address_of(listener, tls=False).startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        (Endpoint(port=70_000), "70000 is not a port; ports go from 0 to 65535"),
        (Endpoint(host="203.0.113.1", port=0), "cannot listen on 203.0.113.1:0: Cannot assign requested address"),
        (Endpoint(path="/nowhere/s"), "cannot listen on /nowhere/s: No such file or directory"),
    ],
)
def test_where_it_cannot_listen_it_says_why(endpoint: Endpoint, sentence: str) -> None:
    with pytest.raises(EndpointError) as caught:
        endpoint.bind()
    assert str(caught.value) == sentence


def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    path.write_text("nothing")
    with pytest.raises(EndpointError, match=f"cannot serve TLS with {path}"):
        Endpoint(cert_file=str(path)).context()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_may_be_written_as_in_a_url(host: str) -> None:
    with Endpoint(host=host, port=0).bind() as listener:
        assert address_of(listener, tls=False) == f"http://[::1]:{listener.getsockname()[1]}"
