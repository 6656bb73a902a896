from __future__ import annotations

from collections import Counter

from channel_layer.redis.ring import HashRing

NAMES = [f"daphne.{number}!" for number in range(3000)]


def test_one_host_has_everything() -> None:
    assert {HashRing(["redis://a"]).host_of(name) for name in NAMES} == {0}


def test_channels_are_spread_over_all_hosts() -> None:
    ring = HashRing(["redis://a", "redis://b", "redis://c"])
    shares = Counter(ring.host_of(name) for name in NAMES)
    assert set(shares) == {0, 1, 2}
    assert min(shares.values()) > len(NAMES) / 3 / 2


def test_a_channel_stays_where_it_is_whatever_the_order_of_hosts() -> None:
    hosts = ["redis://a", "redis://b", "redis://c"]
    ring, reversed_ring = HashRing(hosts), HashRing(hosts[::-1])
    assert all(hosts[ring.host_of(name)] == hosts[::-1][reversed_ring.host_of(name)] for name in NAMES)


def test_a_new_host_takes_its_share_and_moves_nothing_else() -> None:
    before, after = HashRing(["redis://a", "redis://b"]), HashRing(["redis://a", "redis://b", "redis://c"])
    moved = [name for name in NAMES if before.host_of(name) != after.host_of(name)]
    assert {after.host_of(name) for name in moved} == {2}
    assert len(NAMES) / 6 < len(moved) < len(NAMES) / 2
