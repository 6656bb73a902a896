from __future__ import annotations

import pytest

from interface_server.bridge.proxies import TrustedProxies

PEER = ("10.0.0.1", 5000)


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode()) for value in values]


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (("1.2.3.4",), ("1.2.3.4", 0)),
        (("6.6.6.6, 1.2.3.4",), ("1.2.3.4", 0)),
        (("6.6.6.6", "1.2.3.4, 10.0.0.7"), ("1.2.3.4", 0)),
        (("1.2.3.4:777",), ("1.2.3.4", 777)),
        (("[2001:db8::1]:99",), ("2001:db8::1", 99)),
        (("2001:db8::1",), ("2001:db8::1", 0)),
        (("1.2.3.4, nonsense",), PEER),
        (("1.2.3.4, nonsense, 10.0.0.7",), ("10.0.0.7", 0)),
        (("",), PEER),
        ((), PEER),
    ],
)
def test_the_rightmost_hop_that_is_no_proxy_is_the_client(values: tuple[str, ...], client: object) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(PEER, forwarded(*values)) == client


def test_a_peer_that_is_no_proxy_is_not_believed() -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    stranger = ("9.9.9.9", 1)
    assert proxies.client(stranger, forwarded("1.2.3.4")) == stranger
    assert proxies.is_secure(stranger, [(b"x-forwarded-proto", b"https")]) is None


@pytest.mark.parametrize(
    ("values", "port", "client"),
    [
        (("1.2.3.4",), [b"777"], ("1.2.3.4", 777)),
        (("1.2.3.4",), [b"1, 777"], ("1.2.3.4", 777)),
        (("1.2.3.4",), [b"1", b"777"], ("1.2.3.4", 777)),
        (("1.2.3.4:88",), [b"777"], ("1.2.3.4", 88)),
        (("1.2.3.4",), [b"7777777"], ("1.2.3.4", 0)),
        (("1.2.3.4",), [b"\xb2"], ("1.2.3.4", 0)),
        ((), [b"777"], PEER),
        (("nonsense",), [b"777"], PEER),
    ],
)
def test_the_port_of_the_client_may_stand_in_a_header_of_its_own(
    values: tuple[str, ...], port: list[bytes], client: object
) -> None:
    headers = forwarded(*values) + [(b"x-forwarded-port", value) for value in port]
    assert TrustedProxies(["10.0.0.0/8"]).client(PEER, headers) == client
    assert TrustedProxies(["10.0.0.0/8"]).client(("9.9.9.9", 1), headers) == ("9.9.9.9", 1)


def test_any_peer_is_believed_for_one_hop_only() -> None:
    assert TrustedProxies(["*"]).client(("9.9.9.9", 1), forwarded("6.6.6.6, 1.2.3.4")) == ("1.2.3.4", 0)


def test_a_unix_socket_is_a_proxy_of_ours() -> None:
    assert TrustedProxies(["127.0.0.1"]).client(None, forwarded("1.2.3.4")) == ("1.2.3.4", 0)


@pytest.mark.parametrize(
    ("value", "secure"), [(b"https", True), (b"http", False), (b"http, https", True), (b"gopher", None), (b"WSS", True)]
)
def test_the_scheme_is_what_the_nearest_proxy_says(value: bytes, secure: object) -> None:
    assert TrustedProxies(["10.0.0.1"]).is_secure(PEER, [(b"x-forwarded-proto", value)]) is secure


def test_an_ipv4_proxy_is_known_on_a_dual_stack_socket() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).trusts_peer(("::ffff:10.0.0.1", 1))
