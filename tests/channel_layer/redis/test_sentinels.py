"""What Sentinels say, and what is said about those that say nothing of use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from channel_layer.exceptions import LayerUnavailable, LayerUnusable
from channel_layer.redis import sentinels as room
from channel_layer.redis.hosts import Host
from channel_layer.redis.sentinels import Address, Sentinels
from tests.conftest import free_port

from .conftest import StandIn

StandIns = Callable[[int], StandIn]


def of(*stand_ins: StandIn, service: str = "mymaster") -> Sentinels:
    return Sentinels([Host(one.address) for one in stand_ins], service)


@pytest.fixture(params=["threads", "event loop"])
def ask(request: pytest.FixtureRequest) -> Callable[[Sentinels], Address]:
    def ask(sentinels: Sentinels) -> Address:
        return sentinels.ask() if request.param == "threads" else asyncio.run(sentinels.aask())

    return ask


Ask = Callable[[Sentinels], Address]


def test_the_first_that_answers_is_believed(ask: Ask, stand_ins: StandIns) -> None:
    away = Host(("127.0.0.1", free_port()))
    sentinels = Sentinels([away, Host(stand_ins(7001).address)], "mymaster")
    assert ask(sentinels) == sentinels.primary == ("127.0.0.1", 7001)


def test_who_has_heard_of_more_failovers_is_right_whoever_is_asked_last(ask: Ask, stand_ins: StandIns) -> None:
    late, informed = stand_ins(7001), stand_ins(7001)
    informed.name(7002)
    sentinels = of(late, informed)
    assert ask(sentinels)[1] == 7001
    sentinels.turn()
    assert ask(sentinels)[1] == 7002
    sentinels.turn()
    assert ask(sentinels)[1] == 7002
    late.name(7002)
    late.name(7003)
    assert ask(sentinels)[1] == 7003


def test_a_sentinel_that_has_gone_is_not_believed_for_ever(
    ask: Ask, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are set up anew begin to number again."""
    old, new = stand_ins(7001), stand_ins(7002)
    old.epoch = 5
    sentinels = of(old, new)
    assert ask(sentinels)[1] == 7001
    old.shutdown()
    old.server_close()
    assert ask(sentinels)[1] == 7001
    now = time.monotonic() + room.REMEMBER_SECONDS + 1
    monkeypatch.setattr(room.time, "monotonic", lambda: now)
    sentinels.turn()
    assert sentinels.ask()[1] == 7002


def test_connections_are_kept_for_who_asks_often(stand_ins: StandIns) -> None:
    kept: dict[int, object] = {}
    sentinels = of(stand_ins(7001))
    sentinels.ask(kept)  # type: ignore[arg-type]
    [connection] = kept.values()
    sentinels.ask(kept)  # type: ignore[arg-type]
    assert list(kept.values()) == [connection]
    connection.disconnect()  # type: ignore[attr-defined]


def test_none_that_answers_is_an_outage(ask: Ask) -> None:
    nobody = [("127.0.0.1", free_port()) for _ in range(2)]
    with pytest.raises(LayerUnavailable, match="none of its Sentinels answers") as caught:
        ask(Sentinels([Host(address) for address in nobody], "mymaster"))
    assert not isinstance(caught.value, LayerUnusable)
    assert not caught.value.uncertain
    assert str(caught.value).startswith("channel layer at service 'mymaster' is unavailable: ")
    for _, port in nobody:
        assert f"redis://127.0.0.1:{port}/0: " in str(caught.value)


def test_a_service_that_is_not_watched_is_named(ask: Ask, stand_ins: StandIns) -> None:
    with pytest.raises(LayerUnusable, match=r"watches no service 'other'\. Give the name that stands behind"):
        ask(of(stand_ins(7001), service="other"))


def test_a_server_in_place_of_a_sentinel_is_told_so(ask: Ask, redis_url: str) -> None:
    with pytest.raises(LayerUnusable, match=r"is not a Sentinel\. Give the addresses of Sentinels, or put the server"):
        ask(Sentinels([Host(redis_url)], "mymaster"))
