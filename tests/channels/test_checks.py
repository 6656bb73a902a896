"""`channels.checks`: what ``manage.py check`` finds."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from hypothesis import given

from channel_layer.memory import MemoryChannelLayer
from channels import checks
from channels.base_layer import BaseChannelLayer
from tests.channel_layer.redis.confidential import SECRET, entries
from tests.fixtures.draft_layer import FileChannelLayer

MEMORY = "channel_layer.memory.MemoryChannelLayer"


def found(**setting: Any) -> list[str]:
    with override_settings(CHANNEL_LAYERS={"default": {"ROUTING": [], **setting}}):
        return [f"{message.id} {message.msg}" for message in run_checks(tags=[checks.TAG])]


def test_a_project_in_order_has_no_complaints() -> None:
    assert run_checks(tags=[checks.TAG]) == []


def test_a_layer_that_cannot_be_made() -> None:
    assert found(BACKEND="nowhere.Layer") == [
        "channels.E001 CHANNEL_LAYERS['default']: BACKEND 'nowhere.Layer' cannot be imported: No module named 'nowhere'"
    ]


class SomebodysLayer(BaseChannelLayer):
    """A layer for Channels 2 to 4 that is not of this project."""


def test_a_layer_that_cannot_carry_connections() -> None:
    [text] = found(BACKEND=f"{__name__}.SomebodysLayer")
    assert text.startswith("channels.W005 CHANNEL_LAYERS['default']: BACKEND 'tests.channels.test_checks.Somebodys")


def test_a_layer_whose_workers_have_nothing_to_run() -> None:
    [text] = found(BACKEND=MEMORY, ROUTING=None)
    assert text.startswith("channels.W006 CHANNEL_LAYERS['default']: workers have nothing to run; set ROUTING")
    with override_settings(ASGI_APPLICATION="tests.fixtures.channels4_project.consumers.raw_echo"):
        assert found(BACKEND=MEMORY, ROUTING=None) == []


def test_a_route_that_cannot_work() -> None:
    [text] = found(BACKEND=MEMORY, ROUTING={"a": "nowhere.consumer"})
    assert text.startswith("channels.E002 CHANNEL_LAYERS['default']: ROUTING does not work. route('a',")


def test_a_route_that_is_never_taken() -> None:
    [text] = found(BACKEND=MEMORY, ROUTING={"websocket.recieve": lambda message: None})
    assert text.startswith("channels.W003")


def test_an_unknown_session_store() -> None:
    with override_settings(CHANNEL_SESSION_STORE="disk"):
        assert [message.id for message in run_checks(tags=[checks.TAG])] == ["channels.E003"]


@pytest.mark.parametrize(
    "hosts",
    [
        ["redis://localhost:6379/0"],
        ["redis://127.0.0.1/0"],
        [("::1", 6379)],
        ["redis://:secret@redis.example:6379/0"],
        ["unix:///run/redis.sock"],
        [{"host": "redis.example", "password": "secret"}],
        [],
    ],
)
def test_redis_at_home_or_with_a_password_is_fine(hosts: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.channel_layers, "make_backend", lambda alias: MemoryChannelLayer())
    assert found(BACKEND="asgi_redis.RedisChannelLayer", CONFIG={"hosts": hosts}) == []


@pytest.mark.parametrize(
    "host",
    [
        "redis://redis.example:6379/0", "redis://:@redis.example", "redis://user:@redis.example", ("10.0.0.5", 6379),
        {"host": "10.0.0.5"}, {"host": "10.0.0.5", "password": ""}, "redis://redis.example?password=",
    ],
)  # fmt: skip
def test_redis_in_the_open_without_a_password_is_warned_of(host: Any) -> None:
    [text] = found(BACKEND="channel_layer.redis.RedisChannelLayer", CONFIG={"hosts": [host]})
    assert text.startswith("channels.W001 CHANNEL_LAYERS['default']: Redis at redis://")
    assert "without a password" in text


def test_a_password_for_all_servers_is_one() -> None:
    config = {"hosts": [("10.0.0.5", 6379)], "connection_kwargs": {"password": "secret"}}
    assert found(BACKEND="channel_layer.redis.RedisChannelLayer", CONFIG=config) == []


@pytest.mark.parametrize("backend", ["channel_layer.redis.RedisChannelLayer", "asgi_redis.RedisSentinelChannelLayer"])
def test_a_service_in_the_open_without_a_password_is_warned_of(backend: str) -> None:
    config = {"hosts": [("10.0.0.5", 26379)], "services": ["mymaster"]}
    [text] = found(BACKEND=backend, CONFIG=config)
    assert "Redis at redis+sentinel://mymaster/0 is used without a password" in text
    assert found(BACKEND=backend, CONFIG={**config, "connection_kwargs": {"password": "secret"}}) == []


@given(entry=entries)
def test_no_complaint_has_a_password(entry: Any) -> None:
    for setting in ({"CONFIG": {"hosts": [entry]}}, {"CONFIG": {"hosts": entry}}, {"CONFIG": entry}):
        for text in found(BACKEND="channel_layer.redis.RedisChannelLayer", **setting):
            assert SECRET not in text
    with override_settings(CHANNEL_LAYERS={"default": entry}):
        assert not [message for message in run_checks(tags=[checks.TAG]) if SECRET in str(message)]


def keys_found(*keys: str | bytes) -> list[str]:
    config = {"hosts": ["redis://localhost:1"], "symmetric_encryption_keys": list(keys)}
    return found(BACKEND="channel_layer.redis.RedisChannelLayer", CONFIG=config)


@pytest.mark.parametrize("key", ["abc", b"abc", "fifteen letters", "a" * 50, b"\0" * 32])
def test_an_encryption_key_that_can_be_guessed_is_warned_of_and_not_shown(key: str | bytes) -> None:
    [text] = keys_found("kJ8-3hq_Zr0vWm5x", key)
    assert text.startswith("channels.W002 CHANNEL_LAYERS['default']: symmetric_encryption_keys[1] has fewer than 16 ")
    assert str(key) not in text


def test_keys_that_are_long_enough_are_fine() -> None:
    assert keys_found("kJ8-3hq_Zr0vWm5x", bytes(range(16))) == []


@pytest.mark.parametrize("key", ["", b"", 3])
def test_a_key_that_is_none_is_an_error(key: Any) -> None:
    assert [text.partition(" ")[0] for text in keys_found("kJ8-3hq_Zr0vWm5x", key)] == ["channels.E001"]


class DraftLayer(FileChannelLayer):
    """A layer of Channels 1 that its author has not finished."""

    group_discard = None  # type: ignore[assignment]


def test_a_layer_for_channels_1_is_told_in_a_sentence_what_it_lacks() -> None:
    config = {"BACKEND": f"{__name__}.DraftLayer", "CONFIG": {"path": "never.opened"}, "ROUTING": []}
    with override_settings(CHANNEL_LAYERS={"default": config}):
        [error] = checks.check_layers()
    assert error.id == "channels.E001"
    assert error.msg == (
        f"CHANNEL_LAYERS['default']: BACKEND {__name__}.DraftLayer cannot be used: it lacks group_discard; "
        "a layer is a subclass of channel_layer.layer.ChannelLayer, or has what the ASGI draft asked of the layers of "
        "Channels 1"
    )
