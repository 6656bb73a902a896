from __future__ import annotations

from typing import Any

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis.sentinel_host import SentinelHost
from channel_layer.redis.servers import parse_hosts

SENTINELS = [("one.test", 26379), ("two.test", 26380)]


def test_without_hosts_it_is_the_one_on_this_machine() -> None:
    assert [host.name for host in parse_hosts(None, None)] == ["redis://localhost:6379/0"]


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("redis://x", "'hosts' must be a list of servers, not str"),
        ({"host": "x"}, "'hosts' must be a list of servers, not dict"),
        (["redis://x", "localhost"], "hosts[1] is not a URL. Write it as redis://host:port/0"),
        ([{"host": "x", "prot": 1}], "hosts[0] (redis://x:6379/0) cannot be used: "),
        ([{"host": "x", "prot": 1}], "redis-py has no option 'prot' for such a connection"),
        (
            [{"address": "redis://x", "ssl_cert_reqs": "none"}],
            "hosts[0] (redis://x) cannot be used: the option 'ssl_cert_reqs' is for TLS, "
            "so the address has to begin with rediss://",
        ),
        ([{"address": "rediss://x", "ssl_cert": 1}], "redis-py has no option 'ssl_cert' for such a connection"),
    ],
)
def test_a_wrong_specification_is_named(hosts: object, said: str) -> None:
    with pytest.raises(LayerConfigurationError) as caught:
        parse_hosts(hosts, None)
    assert said in str(caught.value)


def watched(*arguments: Any) -> list[SentinelHost]:
    found = parse_hosts(*arguments)
    assert all(isinstance(host, SentinelHost) for host in found)
    return [host for host in found if isinstance(host, SentinelHost)]


def test_services_are_servers_and_hosts_are_their_sentinels() -> None:
    first, second = watched(SENTINELS, {"password": "secret", "db": 3}, ["one", "two"], {"password": "another"})
    assert (first.name, second.name) == ("redis+sentinel://one/3", "redis+sentinel://two/3")
    for host in (first, second):
        assert [sentinel.name for sentinel in host.sentinels.hosts] == [
            "redis://one.test:26379/0",
            "redis://two.test:26380/0",
        ]
        assert (host.connect_sync().password, host.connect_sync().db) == ("secret", 3)
        assert {sentinel.connect_sync().password for sentinel in host.sentinels.hosts} == {"another"}


def test_without_hosts_the_sentinel_is_the_one_on_this_machine() -> None:
    [host] = watched(None, None, ["one"])
    assert [sentinel.name for sentinel in host.sentinels.hosts] == ["redis://localhost:26379/0"]


@pytest.mark.parametrize("kwargs", ["own", "of all"])
def test_a_service_as_in_channels_redis(kwargs: str) -> None:
    secret = {"password": "another"}
    entry = {"sentinels": SENTINELS, "master_name": "one", "db": 2, "password": "secret"}
    if kwargs == "own":
        entry["sentinel_kwargs"] = secret
    [host] = watched([entry], None, None, None if kwargs == "own" else secret)
    assert host.name == "redis+sentinel://one/2"
    assert (host.connect_sync().password, host.connect_async().db) == ("secret", 2)
    assert host.sentinels.hosts[1].connect_async().password == "another"


def test_services_stand_beside_servers() -> None:
    hosts = parse_hosts([{"sentinels": SENTINELS, "master_name": "one"}, "redis://x:7000/0"], None)
    assert [host.name for host in hosts] == ["redis+sentinel://one/0", "redis://x:7000/0"]


def test_services_of_the_same_name_elsewhere_are_told_apart() -> None:
    entries = [{"sentinels": [(name, 26379)], "master_name": "mymaster"} for name in ("east.test", "west.test")]
    assert len({host.name for host in parse_hosts(entries, None)}) == 2


def test_tls_to_the_servers_and_to_the_sentinels() -> None:
    [host] = watched(SENTINELS, {"ssl": True}, ["one"], {"ssl": True, "ssl_ca_certs": "ca.pem"})
    assert host.uses_tls
    for part in (host, *host.sentinels.hosts):
        assert type(part.connect_sync()).__name__ == type(part.connect_async()).__name__ == "SSLConnection"
    assert host.sentinels.hosts[0].connect_sync().ca_certs == "ca.pem"
    [host] = watched(["rediss://one.test:26379"], None, ["one"])
    assert not host.uses_tls
    assert host.sentinels.hosts[0].uses_tls


ENTRY = {"sentinels": SENTINELS, "master_name": "one"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"services": "one"}, "'services' is a list of at least one name"),
        ({"services": []}, "'services' is a list of at least one name"),
        ({"services": [""]}, "services[0] is not the name of a service"),
        ({"services": ["one", 7]}, "services[1] is not the name of a service"),
        ({"services": ["one", "one"]}, "'services' has a name twice"),
        ({"services": ["one"], "hosts": [ENTRY]}, "hosts[0] names a service by itself, and with 'services' every host"),
        ({"services": ["one"], "hosts": ["one.test"]}, "hosts[0] is not a URL"),
        ({"hosts": [{**ENTRY, "host": "x"}]}, "hosts[0] has 'host' and Sentinels, which say themselves where"),
        ({"hosts": [{**ENTRY, "address": "redis://x"}]}, "hosts[0] has 'address' and Sentinels"),
        ({"hosts": [{"sentinels": SENTINELS}]}, "hosts[0] has no 'master_name'; a service needs 'sentinels'"),
        ({"hosts": [{"master_name": "one"}]}, "hosts[0] has no 'sentinels'"),
        ({"hosts": [{"sentinels": [], "master_name": "one"}]}, "hosts[0] has 'sentinels' that are not a list of at"),
        ({"hosts": [{"sentinels": "x", "master_name": "one"}]}, "hosts[0] has 'sentinels' that are not a list of at"),
        ({"hosts": [{"sentinels": ["x"], "master_name": "one"}]}, "hosts[0]: sentinels[0] is not a URL"),
        ({"hosts": [{**ENTRY, "master_name": None}]}, "hosts[0]: 'master_name' is not the name of a service"),
        (
            {"hosts": ["redis://x"], "sentinel_kwargs": {"password": "secret"}},
            "'sentinel_kwargs' has nothing to be for",
        ),
        ({"hosts": [{**ENTRY, "prot": "secret"}]}, "no option 'prot'"),
        ({"services": ["one"], "sentinel_kwargs": {"prot": "secret"}}, "no option 'prot'"),
    ],
)
def test_what_contradicts_itself_is_one_sentence_without_secrets(options: dict[str, Any], said: str) -> None:
    with pytest.raises(LayerConfigurationError) as caught:
        parse_hosts(options.get("hosts"), None, options.get("services"), options.get("sentinel_kwargs"))
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
