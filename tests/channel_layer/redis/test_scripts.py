from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest

from channel_layer.redis import scripts
from channel_layer.redis.hosts import Host
from channel_layer.redis.scripts import Call, plain
from channel_layer.redis.sync_driver import SyncDriver


def test_a_call_names_its_script_by_digest() -> None:
    call = Call(scripts.PUSH, ["k"], [1])
    digest = hashlib.sha1(scripts.PUSH.text, usedforsecurity=False).hexdigest()
    assert call.command() == ("EVALSHA", digest, 1, "k", 1)
    assert call.command_with_text() == ("EVAL", scripts.PUSH.text, 1, "k", 1)


def test_a_plain_command_is_just_that() -> None:
    assert plain("PING", 1).command() == ("PING", 1)


@pytest.mark.parametrize("script", [*scripts.ALL, *scripts.FOR_OPERATORS], ids=lambda script: script.name)
def test_every_script_names_its_keys_and_arguments_once_at_the_top(script: scripts.Script) -> None:
    text = files("channel_layer.redis").joinpath(f"{script.name}.lua").read_text()
    named = re.findall(r"^local \w+ = (?:tonumber\()?((?:KEYS|ARGV)\[\d+\])\)?(?: +-- .+)?$", text, re.MULTILINE)
    assert named
    assert "KEYS[1]" in named
    assert named == re.findall(r"(?:KEYS|ARGV)\[\d+\]", text)


def push(driver: SyncDriver, capacity: int, frames: list[bytes], expiry_ms: int = 60_000) -> object:
    call = Call(scripts.PUSH, ["push:s", "push:c", "push:sc"], [expiry_ms, 60_000, capacity, len(frames), *frames])
    return driver.run(0, [call])[0]


@pytest.fixture
def driver(redis_url: str) -> Iterator[SyncDriver]:
    driver = SyncDriver([Host(redis_url)])
    yield driver
    driver.run(0, [plain("DEL", "push:s", "push:c", "push:sc")])
    driver.close()


def contents(driver: SyncDriver) -> list[bytes]:
    return [element[8:] for element in driver.run(0, [plain("LRANGE", "push:c", 0, -1)])[0]]


def test_of_a_push_that_is_too_long_the_first_are_stored_and_the_rest_counted(driver: SyncDriver) -> None:
    assert push(driver, 3, [b"a", b"b"]) is None
    assert push(driver, 3, [b"c", b"d", b"e"]) == [2]
    assert push(driver, 3, [b"f"]) == [1]
    assert contents(driver) == [b"a", b"b", b"c"]
    assert driver.run(0, [plain("HMGET", "push:sc", "sent", "full")])[0] == [b"3", b"3"]


def test_a_push_may_be_longer_than_what_lua_takes_at_once(driver: SyncDriver) -> None:
    frames = [str(number).encode() for number in range(10_000)]
    assert push(driver, 9_500, frames) == [500]
    assert contents(driver) == frames[:9_500]


def test_what_has_expired_or_is_none_of_ours_makes_room(driver: SyncDriver) -> None:
    driver.run(0, [plain("RPUSH", "push:c", "junk")])
    push(driver, 3, [b"old", b"older"], expiry_ms=-1)
    assert push(driver, 3, [b"a", b"b"]) is None
    assert push(driver, 3, [b"c", b"d"]) == [1]
    assert contents(driver) == [b"a", b"b", b"c"]
