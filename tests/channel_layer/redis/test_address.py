from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import example, given

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.redis import RedisChannelLayer, RedisClusterChannelLayer
from channel_layer.redis.address import ServerAddress
from channel_layer.redis.hosts import Host
from channel_layer.redis.servers import parse_hosts
from tests.channel_layer.redis.confidential import SECRET, entries


@given(entry=entries)
@example(entry=f"user:{SECRET}@host/0")
@example(entry=f"redis://:pa#{SECRET}@host/0")
@example(entry=f"redis://:12345#{SECRET}@host/0")
@example(entry=f"redis://:12345/{SECRET}@host/0")
@example(entry=f"redis://host/0?password={SECRET}")
@example(entry=f"redis://host/0?password=&{SECRET}=2")
@example(entry=f"unix://:a/{SECRET}@/run/redis.sock")
@example(entry=f"redis://user:\N{ACCOUNT OF}{SECRET}@host/0")
def test_no_text_about_a_server_has_its_password(entry: Any) -> None:
    try:
        [host] = parse_hosts([entry], None)
    except LayerConfigurationError as error:
        said = [*traceback.format_exception(error), repr(error), str(error)]
    else:
        layer = RedisChannelLayer(hosts=[entry])
        said = [host.name, repr(vars(host)), repr(layer), layer.describe()]
        layer.close()
    assert not [text for text in said if SECRET in text]


@given(entry=entries)
@example(entry=f"redis://host/1?password={SECRET}")
@example(entry=f"unix://:{SECRET}@/run/redis.sock")
def test_no_text_about_a_node_has_its_password(entry: Any) -> None:
    try:
        layer = RedisClusterChannelLayer(hosts=[entry], tags=1)
    except LayerConfigurationError as error:
        said = [*traceback.format_exception(error), repr(error), str(error)]
    else:
        said = [repr(layer), layer.describe(), *(host.name for host in layer._hosts)]
        layer.close()
    assert not [text for text in said if SECRET in text]


@pytest.mark.parametrize(
    ("spec", "name", "is_local"),
    [
        ("rediss://user:secret@example.test:7000/1?password=secret", "rediss://example.test:7000/1", False),
        ("redis://:p%40%23ss@Example.Test", "redis://example.test", False),
        ("redis://:p@ss@example.test", "redis://example.test", False),
        ("redis://[::1]:7000/1", "redis://[::1]:7000/1", True),
        ("redis://b\u00fccher.example", "redis://b\u00fccher.example", False),
        ("redis://127.8.8.8/", "redis://127.8.8.8/", True),
        ("redis:///1", "redis://localhost/1", True),
        ("unix://user:secret@/run/redis@1.sock?db=1", "unix:///run/redis@1.sock", True),
        (("::1", 7000), "redis://[::1]:7000/0", True),
        ({"host": "10.0.0.1", "db": 2}, "redis://10.0.0.1:6379/2", False),
    ],
)
def test_a_name_has_no_secrets(spec: Any, name: str, is_local: bool) -> None:
    address = ServerAddress.parse(spec, "hosts[0]", {})
    assert (address.name, address.is_local) == (name, is_local)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("localhost", "is not a URL. Write it as redis://host:port/0"),
        ("http://x", "is not a URL. Write it as redis://host:port/0"),
        (3, "is not one of: a URL, a (host, port) pair, a dict of redis-py arguments; it is of type int"),
        (("x", 1, 2), "it is of type tuple"),
        ("redis://:a#b@x/0", "has a '#', a space or a control character; write such characters of a user or password"),
        ("redis://:a/b@x/0", "has no readable host and port; write such characters"),
        ("redis://u:1/b@x/0", "has an '@' behind a '/' or '?'; write such characters"),
        ("redis://x:70000/0", "has no readable host and port"),
        ("redis://x/zero", "has a path that is not a database; write its number"),
        ("redis://a..b/0", "has no host that can be looked up"),
        ("redis://[1::2::3]/0", "has no "),
        ("unix://u/b@/run/x", "has something before the path that is not user:password@"),
        (("u:pw@x", 6379), "has a host with '@'; give a password as 'password' in a dict"),
    ],
)
def test_what_can_mean_two_things_is_refused_in_a_sentence(spec: Any, said: str) -> None:
    with pytest.raises(LayerConfigurationError) as caught:
        Host(spec, label="hosts[7]")
    assert str(caught.value).startswith("hosts[7] ")
    assert said in str(caught.value)
