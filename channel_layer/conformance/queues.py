"""Channels as queues: order, expiry, kinds of channels, putting back, flushing, counting."""

from __future__ import annotations

import pytest

from ..layer import ChannelLayer
from .tools import MakeLayer, Tools, numbers


class QueueRules(Tools):
    """ASGI 1 draft, "Channels", "Strong Ordering", "Flushing", "Statistics"."""

    def test_it_names_its_extensions(self, layer: ChannelLayer) -> None:
        assert isinstance(layer.extensions, list)
        assert {"groups", "flush", "statistics", "async"} <= set(layer.extensions)

    def test_it_can_be_checked_described_closed_and_used_again(self, layer: ChannelLayer) -> None:
        layer.check()
        assert isinstance(layer.describe(), str)
        layer.close()
        layer.send("reopened", {"n": 1})
        layer.close()
        assert numbers(self.take(layer, "reopened")) == [1]

    def test_nothing_comes_from_an_empty_channel(self, layer: ChannelLayer) -> None:
        assert layer.receive(["empty", "empty.too"]) == (None, None)
        assert layer.receive_batch(["empty", "empty.too"], limit=10) == []
        assert layer.receive_batch(["empty"], limit=10, timeout=0.05) == []

    def test_receive_many_gives_one_message_as_receive_does(self, layer: ChannelLayer) -> None:
        assert layer.receive_many(["old"]) == (None, None)
        layer.send("old", {"n": 1})
        layer.send("old", {"n": 2})
        assert layer.receive_many(["old", "other"], block=False) == ("old", {"n": 1})
        assert layer.receive_many(["old"], block=True) == ("old", {"n": 2})

    def test_messages_keep_their_order(self, make_layer: MakeLayer) -> None:
        sender, reader = make_layer(), make_layer()
        for n in range(50):
            sender.send("ordered", {"n": n})
        assert numbers(self.take(reader, "ordered", count=50)) == list(range(50))

    def test_messages_of_a_batch_keep_their_order(self, make_layer: MakeLayer) -> None:
        sender, reader = make_layer(), make_layer()
        assert sender.send_batch([sender.prepare("ordered", {"n": n}) for n in range(100)]) == []
        assert numbers(self.take_many(reader, "ordered", count=100, limit=7)) == list(range(100))

    def test_messages_of_a_process_keep_their_order_across_its_channels(self, layer: ChannelLayer) -> None:
        layer.send_batch([layer.prepare(f"process!{n % 3}", {"n": n}) for n in range(30)])
        taken = self.take_many(layer, "process!", count=30)
        assert numbers(taken) == list(range(30))
        assert [delivery.channel for delivery in taken] == [f"process!{n % 3}" for n in range(30)]

    def test_direct_and_group_messages_keep_their_order(self, layer: ChannelLayer) -> None:
        layer.group_add("mixed", "process!a")
        for n in range(10):
            if n % 2:
                layer.send_group("mixed", {"n": n})
            else:
                layer.send("process!a", {"n": n})
        taken = self.take(layer, "process!", count=10)
        for rest in (0, 1):
            assert [n for n in numbers(taken) if n % 2 == rest] == list(range(rest, 10, 2))
        assert numbers(self.in_order(taken)) == list(range(10))
        assert {channel for channel, _ in taken} == {"process!a"}

    def test_a_batch_is_no_larger_than_its_limit_and_from_one_channel(self, layer: ChannelLayer) -> None:
        for n in range(20):
            layer.send("batch.a", {"n": n})
            layer.send("batch.b", {"n": n})
        seen: dict[str, list[int]] = {"batch.a": [], "batch.b": []}
        while sum(map(len, seen.values())) < 40:
            batch = layer.receive_batch(["batch.a", "batch.b"], limit=6, timeout=1)
            assert 1 <= len(batch) <= 6
            assert len({delivery.channel for delivery in batch}) <= 1
            for delivery in batch:
                seen[delivery.channel] += numbers([delivery])
        assert seen == {"batch.a": list(range(20)), "batch.b": list(range(20))}

    def test_a_message_is_received_once(self, make_layer: MakeLayer) -> None:
        one, other = make_layer(), make_layer()
        one.send("once", {"n": 1})
        assert numbers(self.take(other, "once")) == [1]
        assert self.nothing(one, "once")
        assert self.nothing(other, "once")

    def test_a_message_expires(self, make_layer: MakeLayer) -> None:
        layer = make_layer(expiry=1)
        layer.send("expiring", {"n": 1})
        layer.send("process!a", {"n": 1})
        self.wait(1.3)
        assert self.nothing(layer, "expiring", "process!")
        layer.send("expiring", {"n": 2})
        assert numbers(self.take(layer, "expiring")) == [2]

    def test_an_expired_message_does_not_hide_a_fresh_one(self, make_layer: MakeLayer) -> None:
        layer = make_layer(expiry=2)
        layer.send("expiring", {"n": 1})
        self.wait(1.5)
        layer.send("expiring", {"n": 2})
        self.wait(1)
        assert numbers(self.take(layer, "expiring")) == [2]

    def test_a_process_channel_is_read_by_its_prefix(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        names = [server.new_channel("process.a!") for _ in range(3)]
        for n, name in enumerate(names):
            worker.send(name, {"n": n})
        worker.send("process.b!x", {"n": 9})
        assert self.take(server, "process.a!", count=3) == [(name, {"n": n}) for n, name in enumerate(names)]
        assert self.nothing(server, "process.a!")
        assert self.take(server, "process.b!") == [("process.b!x", {"n": 9})]

    def test_a_single_reader_channel_is_read_by_its_full_name(self, make_layer: MakeLayer) -> None:
        server, worker = make_layer(), make_layer()
        one, other = server.new_channel("body?"), server.new_channel("body?")
        server.send(one, {"n": 1})
        server.send(other, {"n": 2})
        server.send(one, {"n": 3})
        assert self.take(worker, one, count=2) == [(one, {"n": 1}), (one, {"n": 3})]
        assert self.nothing(worker, one)
        assert self.take(worker, other) == [(other, {"n": 2})]

    def test_what_is_put_back_comes_first_in_its_order_with_its_headers(self, make_layer: MakeLayer) -> None:
        layer, next_reader = make_layer(), make_layer()
        layer.send_batch([layer.prepare("returned", {"n": n}, {"turn": n}) for n in range(5)])
        taken = self.take_many(layer, "returned", count=5)
        layer.send("returned", {"n": 5})
        layer.put_back("returned", taken[1:])
        again = self.take_many(next_reader, "returned", count=5)
        assert numbers(again) == [1, 2, 3, 4, 5]
        assert [delivery.headers for delivery in again] == [{"turn": n} for n in range(1, 5)] + [None]

    def test_putting_back_does_not_ask_for_capacity(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=2)
        layer.send_batch([layer.prepare("returned", {"n": n}) for n in range(2)])
        taken = self.take_many(layer, "returned", count=2)
        layer.send_batch([layer.prepare("returned", {"n": n}) for n in (2, 3)])
        layer.put_back("returned", taken)
        assert numbers(self.take_many(layer, "returned", count=4)) == [0, 1, 2, 3]

    def test_what_is_put_back_expires_when_it_would_have(self, make_layer: MakeLayer) -> None:
        layer = make_layer(expiry=2)
        layer.send("returned", {"n": 1})
        self.wait(1.2)
        layer.send("returned", {"n": 2})
        layer.put_back("returned", self.take_many(layer, "returned", count=2))
        self.wait(1)
        assert numbers(self.take(layer, "returned")) == [2]

    def test_putting_back_nothing_is_no_error(self, layer: ChannelLayer) -> None:
        layer.put_back("returned", [])
        assert self.nothing(layer, "returned")

    def test_flush_removes_messages_groups_and_statistics_for_everybody(self, make_layer: MakeLayer) -> None:
        one, other = make_layer(), make_layer()
        one.send("flushed", {"n": 1})
        one.send("process!a", {"n": 1})
        one.group_add("flushed", "process!a")
        one.group_add("flushed", "plain")
        other.flush()
        assert one.group_channels("flushed") == []
        assert one.global_statistics()["messages_count"] == 0
        assert self.nothing(one, "flushed", "process!", "plain")
        one.send_group("flushed", {"n": 2})
        assert self.nothing(one, "process!", "plain")

    def test_after_a_flush_a_process_has_forgotten_its_members(self, make_layer: MakeLayer) -> None:
        reader, other = make_layer(), make_layer()
        reader.group_add("flushed", "process!old")
        reader.send_group("flushed", {"n": 1})
        assert numbers(self.take(reader, "process!")) == [1]
        other.flush()
        other.group_add("flushed", "process!new")
        other.send_group("flushed", {"n": 2})
        assert self.take(reader, "process!") == [("process!new", {"n": 2})]
        assert self.nothing(reader, "process!")

    def test_another_store_is_left_alone(self, make_layer: MakeLayer) -> None:
        if self.elsewhere is None:
            pytest.skip("this layer knows no second store")
        here, there = make_layer(), make_layer(**self.elsewhere)
        here.send("shared.name", {"n": 1})
        here.group_add("shared", "plain")
        assert self.nothing(there, "shared.name", "plain")
        assert there.group_channels("shared") == []
        there.send("shared.name", {"n": 2})
        there.flush()
        assert numbers(self.take(here, "shared.name")) == [1]
        assert here.group_channels("shared") == ["plain"]

    def test_statistics_count_what_was_sent_and_what_waits(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=3)
        for n in range(3):
            layer.send("counted", {"n": n})
        refused = layer.send_batch([layer.prepare("counted", {"n": 3})])
        layer.send("counted.too", {"n": 4})
        assert len(refused) == 1
        everything = layer.global_statistics()
        assert (everything["messages_count"], everything["channel_full_count"]) == (4, 1)
        assert everything["messages_count_per_second"] >= 0
        one = layer.channel_statistics("counted")
        assert (one["messages_count"], one["channel_full_count"], one["messages_pending"]) == (3, 1, 3)
        assert one["messages_count_per_second"] >= 0
        assert 0 <= one["messages_max_age"] <= 60
        self.take(layer, "counted", count=2)
        assert layer.channel_statistics("counted")["messages_pending"] == 1

    def test_statistics_tell_the_age_of_the_oldest_message(self, layer: ChannelLayer) -> None:
        layer.send("aged", {"n": 1})
        self.wait(1.2)
        layer.send("aged", {"n": 2})
        assert 1 <= layer.channel_statistics("aged")["messages_max_age"] < 60

    def test_statistics_of_an_unknown_channel_are_zero(self, layer: ChannelLayer) -> None:
        assert layer.channel_statistics("unknown") == {
            "messages_count": 0,
            "messages_count_per_second": 0,
            "channel_full_count": 0,
            "messages_pending": 0,
            "messages_max_age": 0,
        }
