"""Where messages lie and in which form."""

from __future__ import annotations

from channel_layer import codec
from channel_layer.capacity import CapacityRules
from channel_layer.cipher import Sealer
from channel_layer.redis.storage import Storage

from .test_plan import item


def test_times_are_milliseconds_and_channels_have_their_capacity() -> None:
    storage = Storage(["redis://x"], "p:", 0.5, 60, CapacityRules(7, {"small": 2}), presence=1.5)
    assert (storage.expiry_ms, storage.group_expiry_ms, storage.presence_ms) == (500, 60_000, 1500)
    assert (storage.capacity_of("small"), storage.capacity_of("wide")) == (2, 7)


def test_what_concerns_a_reader_lies_on_one_of_the_servers_whoever_asks() -> None:
    hosts = ["redis://x", "redis://y"]
    one, other = (Storage(hosts, "p:", 60, 60, CapacityRules(7)) for _ in range(2))
    readers = [f"reader.{n}" for n in range(50)]
    assert {one.host_of(reader) for reader in readers} == {0, 1}
    assert [one.host_of(reader) for reader in readers] == [other.host_of(reader) for reader in readers]


def test_frames_are_sealed_if_there_is_a_sealer() -> None:
    plain = Storage(["redis://x"], "p:", 60, 60, CapacityRules(7))
    sealed = Storage(["redis://x"], "p:", 60, 60, CapacityRules(7), Sealer(["secret"], "p:", 1000))
    assert codec.unpack_frame(plain.frame("d!", "1", item("d!1")), 1000)[1] == "1"
    assert b"to" not in sealed.frame("d!", "1", item("d!1"))
