"""A port of its own for health and metrics."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from interface_server.monitoring import Answers, Condition, Port, parse_address, trusted
from interface_server.options import OptionsError
from tests.interface_server.helpers import body_of, fields_of, read_all, status_of


@contextlib.contextmanager
def port(answers: Answers) -> Iterator[int]:
    own = Port("0", answers)
    own.start()
    try:
        yield own.address[1]
    finally:
        own.close()


def answers(good: bool = True, metrics: bool = True) -> Answers:
    def render(accept: str) -> tuple[str, bytes]:
        if accept == "trouble":
            raise RuntimeError("no metrics")
        return "text/plain; version=0.0.4", b"a 1\n"

    return Answers(
        lambda: Condition(True, "ok"), lambda: Condition(good, "ok" if good else "busy"), render if metrics else None
    )


def ask(where: int, path: str, fields: str = "", method: str = "GET") -> bytes:
    with socket.create_connection(("127.0.0.1", where), 20) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: any.where\r\nConnection: close\r\n{fields}\r\n".encode())
        return read_all(connection)


def test_health_readiness_and_metrics_have_a_path_each(capfd: pytest.CaptureFixture[str]) -> None:
    with port(answers(good=False)) as where:
        health, ready, metrics = (ask(where, path) for path in ("/-/healthz", "/-/readyz?x=1", "/metrics"))
        assert (status_of(health), body_of(health)) == (200, b"ok\n")
        assert (status_of(ready), body_of(ready)) == (503, b"busy\n")
        assert (status_of(metrics), body_of(metrics)) == (200, b"a 1\n")
        assert fields_of(metrics)["content-type"] == "text/plain; version=0.0.4"
        assert fields_of(health)["cache-control"] == "no-store"
        assert (status_of(ask(where, "/")), status_of(ask(where, "/-/healthz", method="POST"))) == (404, 501)
        head = ask(where, "/-/healthz", method="HEAD")
        assert (status_of(head), body_of(head)) == (200, b"")
    assert capfd.readouterr() == ("", "")


def test_metrics_that_cannot_be_made_are_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with port(answers()) as where:
        assert status_of(ask(where, "/metrics", "Accept: trouble\r\n")) == 500
        assert status_of(ask(where, "/metrics")) == 200
    assert "metrics cannot be made" in caplog.text


def test_where_there_are_no_metrics_health_is_answered() -> None:
    with port(answers(metrics=False)) as where:
        assert status_of(ask(where, "/metrics")) == 404
        assert status_of(ask(where, "/-/healthz")) == 200


def test_a_client_that_says_nothing_holds_nobody_up() -> None:
    with port(answers()) as where, socket.create_connection(("127.0.0.1", where), 20):
        assert status_of(ask(where, "/-/healthz")) == 200


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(OptionsError) as caught:
            Port(str(number), answers())
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1 port {number} (--metrics): Address already in use; name another"
    )


def test_a_port_may_be_shared_with_the_server_that_follows() -> None:
    own = Port("0", answers(), shared=True)
    Port(str(own.address[1]), answers(), shared=True)._server.server_close()
    own._server.server_close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9101", ("127.0.0.1", 9101)),
        (":9101", ("127.0.0.1", 9101)),
        ("0.0.0.0:9101", ("0.0.0.0", 9101)),
        ("[::1]:9101", ("::1", 9101)),
    ],
)
def test_a_place_is_a_port_with_or_without_a_host(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["metrics", "host:", "1.2.3.4:65536", "-1", "٣"])
def test_another_place_is_refused(text: str) -> None:
    with pytest.raises(OptionsError, match="cannot be a place for metrics; write a port, as 9101"):
        parse_address(text)


@pytest.mark.parametrize(
    ("peer", "headers", "is_trusted"),
    [
        (("10.1.2.3", 5), [], True),
        (("::ffff:10.1.2.3", 5), [], True),
        (("11.1.2.3", 5), [], False),
        (None, [], False),
        (("10.1.2.3", 5), [(b"x-forwarded-for", b"10.1.2.3")], False),
        (("10.1.2.3", 5), [(b"forwarded", b"for=10.1.2.3")], False),
        (("somewhere", 5), [], False),
    ],
)
def test_who_comes_through_a_proxy_is_not_trusted(
    peer: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], is_trusted: bool
) -> None:
    assert trusted(peer, headers, ("10.0.0.0/8",)) is is_trusted
