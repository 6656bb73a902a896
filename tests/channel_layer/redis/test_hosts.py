from __future__ import annotations

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import hosts
from channel_layer.redis.hosts import OPERATION_SECONDS, Host, check_server


@pytest.mark.parametrize(
    ("spec", "host", "port"),
    [
        ("redis://example.test:7000/2", "example.test", 7000),
        (("example.test", 7000), "example.test", 7000),
        (["example.test", 7000], "example.test", 7000),
        ({"host": "example.test", "port": 7000, "db": 2}, "example.test", 7000),
        ({"address": "redis://example.test:7000/2"}, "example.test", 7000),
        ({"address": ("example.test", 7000)}, "example.test", 7000),
        (("::1", 7000), "::1", 7000),
        ({"host": "::1", "port": 7000}, "::1", 7000),
    ],
)
def test_a_server_is_written_in_any_of_the_usual_ways(spec: object, host: str, port: int) -> None:
    for connection in (Host(spec).connect_sync(), Host(spec).connect_async()):
        assert (connection.host, connection.port) == (host, port)


def test_connections_have_our_timeouts_and_never_try_again() -> None:
    host = Host("redis://x")
    assert host.timeout == host.connect_sync().socket_timeout == OPERATION_SECONDS
    for connection in (host.connect_sync(), host.connect_async()):
        assert connection.socket_connect_timeout == hosts.CONNECT_SECONDS
        assert connection.retry.get_retries() == 0


def test_connection_kwargs_reach_the_connection() -> None:
    connection = Host("redis://x", {"socket_timeout": 9, "username": "worker"}).connect_sync()
    assert (connection.socket_timeout, connection.username) == (9, "worker")


def test_a_database_goes_with_a_pair_too() -> None:
    for spec in ({"host": "x", "db": 2}, {"address": ("x", 6379), "db": 2}):
        assert Host(spec).connect_sync().db == Host(spec).connect_async().db == 2
        assert Host(spec).name == "redis://x:6379/2"


def test_tls_is_a_matter_of_the_url() -> None:
    assert type(Host("rediss://x").connect_sync()).__name__ == "SSLConnection"


def test_a_unix_socket_is_a_url_too() -> None:
    for connection in (Host("unix:///run/redis.sock").connect_sync(), Host("unix:///run/redis.sock").connect_async()):
        assert connection.path == "/run/redis.sock"


@pytest.mark.parametrize(
    ("spec", "has_password"),
    [
        ("redis://:secret@x", True),
        ("redis://x?password=secret", True),
        ({"host": "x", "password": "secret"}, True),
        ("redis://:@x", False),
        ("redis://user@x", False),
        ("redis://user:@x", False),
        ("redis://x?password=", False),
        ({"host": "x", "password": ""}, False),
        ({"address": "redis://x", "username": "user"}, False),
        (("x", 6379), False),
    ],
)
def test_an_empty_password_is_none(spec: object, has_password: bool) -> None:
    assert Host(spec).has_password is has_password
    assert Host(spec, {"password": "secret"}).has_password


def complaint(info: object) -> str:
    """What is said about a server that answers so to ``INFO``."""
    try:
        check_server(info, [], "redis://x")
    except LayerConfigurationError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("version", [b"7.0.0", b"7.0.15", b"7.2.4", b"8.0.1", b"10.1.0"])
def test_new_enough_servers_are_welcome(version: bytes) -> None:
    assert complaint(b"# Server\r\nredis_version:" + version + b"\r\nos:x\r\n") == ""


@pytest.mark.parametrize("key", [b"redis_mode", b"server_mode"])
@pytest.mark.parametrize(("mode", "said"), [(b"cluster", "cluster mode"), (b"sentinel", "is a Sentinel")])
def test_a_server_of_another_kind_is_refused(key: bytes, mode: bytes, said: str) -> None:
    text = complaint(b"# Server\r\nredis_version:7.2.4\r\n" + key + b":" + mode + b"\r\n")
    assert text.startswith("Redis at redis://x ")
    assert said in text


def test_an_old_server_is_told_from_the_version_it_needs() -> None:
    assert complaint(b"# Server\r\nredis_version:6.2.14\r\n") == (
        "Redis at redis://x is version 6.2.14; Redis 7.0 or later is needed, or Valkey. Upgrade the server."
    )


def test_a_server_that_keeps_its_version_to_itself_is_taken_as_it_is() -> None:
    assert [complaint(info) for info in (PermissionError("NOPERM"), b"")] == ["", ""]
