"""The watch over servers that move. What it does for them is in the tests of Sentinel and of the cluster."""

from __future__ import annotations

import threading

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import moving_host
from channel_layer.redis.moving_host import Address, Watch
from tests.conftest import wait_until


class Guide:
    """Says where a server is, or that nobody knows."""

    def __init__(self) -> None:
        self.primary: Address | None = ("one.test", 1)
        self.asked = 0
        self.is_away = False

    def ask(self, connections: object = None) -> Address:
        self.asked += 1
        if self.is_away or self.primary is None:
            raise LayerUnavailable("the guide", "nobody answers")
        return self.primary

    async def aask(self) -> Address:
        return self.ask()

    def turn(self) -> None:
        """There is nobody else."""

    def forget(self) -> None:
        """There is nothing to forget."""


class Host:
    """Counts how often it was told to settle."""

    has_connections = True
    settled = 0

    def settle(self) -> None:
        self.settled += 1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_host, "WATCH_SECONDS", 0.01)


def watchers(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_all_hosts_of_a_guide_share_a_thread_that_ends_with_their_connections() -> None:
    guide, hosts = Guide(), [Host(), Host()]
    watch = Watch(guide, "watch-of-two")
    for host in hosts:
        watch.attend(host)  # type: ignore[arg-type]
    assert len(watchers("watch-of-two")) == 1
    wait_until(lambda: all(host.settled > 1 for host in hosts), "both to settle")
    hosts[0].has_connections = False
    before = hosts[1].settled
    wait_until(lambda: hosts[1].settled > before + 1, "the other to be looked after")
    hosts[1].has_connections = False
    wait_until(lambda: not watchers("watch-of-two"), "the end of the thread")
    hosts[1].has_connections = True
    watch.attend(hosts[1])  # type: ignore[arg-type]
    assert len(watchers("watch-of-two")) == 1
    watch.close()
    wait_until(lambda: not watchers("watch-of-two"), "the end of the thread")


def test_a_guide_that_does_not_answer_is_complained_of_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    guide, host = Guide(), Host()
    watch = Watch(guide, "watch-of-one")
    guide.is_away = True
    watch.attend(host)  # type: ignore[arg-type]
    for times in (1, 2):
        wait_until(lambda times=times: caplog.text.count("a failover would not be noticed") == times, "a complaint")
        asked = guide.asked
        wait_until(lambda asked=asked: guide.asked > asked + 2, "more questions")
        assert caplog.text.count("a failover would not be noticed") == times
        guide.is_away = False
        asked = guide.asked
        wait_until(lambda asked=asked: guide.asked > asked + 1, "answers")
        guide.is_away = True
    watch.close()
