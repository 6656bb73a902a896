"""Users who may do less than the layer needs, on a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis import RedisChannelLayer, permissions
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import plain
from channel_layer.redis.sync_driver import SyncDriver
from tests.conftest import free_port

SOURCES = Path(permissions.__file__).parent


@pytest.fixture(scope="module")
def admin(redis_url: str) -> Iterator[SyncDriver]:
    driver = SyncDriver([Host(redis_url)])
    yield driver
    driver.run(0, [plain("ACL", "DELUSER", "narrow")])
    driver.close()


def layer_of(admin: SyncDriver, redis_url: str, rules: str) -> RedisChannelLayer:
    [reply] = admin.run(0, [plain("ACL", "SETUSER", "narrow", "reset", "on", ">secret", *rules.split())])
    assert reply == b"OK"
    return RedisChannelLayer(hosts=[redis_url.replace("://", "://narrow:secret@")], prefix="narrow:")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("~narrow:* +@all -hset -blmpop", "does not let our user run HSET, BLMPOP on keys that begin with 'narrow:'."),
        ("~other:* +@all", "begin with 'narrow:'. Allow it, for example with ACL SETUSER and ~narrow:* +@all"),
        ("~* +@all -script", "has no permissions to run the 'script|load' command. Check the rights"),
        ("~* +@all -eval", "has no permissions to run the 'eval' command. Check the rights"),
        ("~* +@all -@list", "does not let our user run LINDEX, LLEN, LPOP, LPUSH, RPOP, RPUSH, LMPOP, BLMPOP on"),
    ],
)
def test_who_may_not_do_what_is_needed_is_refused_at_the_start(
    admin: SyncDriver, redis_url: str, rules: str, said: str
) -> None:
    layer = layer_of(admin, redis_url, rules)
    with pytest.raises(LayerUnusable) as caught:
        layer.check()
    layer.close()
    assert said in str(caught.value)
    assert str(caught.value).startswith("Redis at redis://127.0.0.1:")
    assert not caught.value.uncertain
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "rules", ["~* +@all", "~narrow:* +@all -@dangerous +client|unblock", "~narrow:* +@all -client -info"]
)
def test_who_may_do_all_of_it_is_welcome(admin: SyncDriver, redis_url: str, rules: str) -> None:
    layer = layer_of(admin, redis_url, rules)
    layer.check()
    layer.send("x", {"n": 1})
    assert layer.receive(["x"]) == ("x", {"n": 1})

    async def main() -> None:
        await layer.agroup_add("g", "p!x")
        await layer.asend_group("g", {"n": 2})
        assert (await layer.areceive(["p!"]))[1] == {"n": 2}
        await layer.aclose()

    asyncio.run(main())
    layer.close()


def test_rights_that_are_taken_away_while_it_runs_are_named(admin: SyncDriver, redis_url: str) -> None:
    layer = layer_of(admin, redis_url, "~* +@all")
    layer.send("x", {"n": 1})
    admin.run(0, [plain("ACL", "SETUSER", "narrow", "-rpush")])
    with pytest.raises(LayerUnusable, match="Allow its user all commands on keys that begin with"):
        layer.send("x", {"n": 2})
    admin.run(0, [plain("ACL", "SETUSER", "narrow", "-evalsha")])
    with pytest.raises(LayerUnusable, match="no permissions to run the 'evalsha' command") as caught:
        layer.send("x", {"n": 2})
    assert not caught.value.uncertain
    admin.run(0, [plain("ACL", "SETUSER", "narrow", "+@all")])
    assert layer.receive(["x"]) == ("x", {"n": 1})
    layer.close()


def test_a_server_that_is_away_hides_nothing_about_the_others(admin: SyncDriver, redis_url: str) -> None:
    narrow = layer_of(admin, redis_url, "~* +@all -hset")
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    layer = RedisChannelLayer(hosts=[nobody, redis_url.replace("://", "://narrow:secret@")])
    with pytest.raises(LayerUnusable, match="does not let our user run HSET"):
        layer.check()
    admin.run(0, [plain("ACL", "SETUSER", "narrow", "+@all")])
    with pytest.raises(LayerUnavailable, match="left out"):
        layer.check()
    layer.close()
    narrow.close()


def test_every_command_that_is_sent_is_asked_about() -> None:
    sent = set()
    for path in SOURCES.glob("*.py"):
        sent.update(re.findall(r'\bplain\(\s*"([A-Z]+)"', path.read_text()))
    asked = {word.split()[0] for word in permissions.ON_THEIR_OWN} | set(permissions.IN_SCRIPTS)
    # Those of flush, of interrupts and of what operators ask for.
    assert sent - asked == {"UNLINK", "SCAN", "CLIENT", "ZCOUNT"}
    assert {"RPUSH", "PEXPIRE", "HRANDFIELD", "SISMEMBER"} <= set(permissions.IN_SCRIPTS)
