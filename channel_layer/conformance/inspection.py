"""Looks at channels and groups, for layers with the extension ``inspection``."""

from __future__ import annotations

import pytest

from ..exceptions import InvalidName
from ..inspection import INSPECTION, MOST_BYTES, Waiting
from ..layer import ChannelLayer
from .tools import MakeLayer, Tools, numbers


def seen(found: list[Waiting]) -> list[int]:
    """The ``n`` of each message."""
    return [waiting.message["n"] for waiting in found if waiting.message is not None]


class InspectionRules(Tools):
    """Whoever looks sees what is there, and changes nothing."""

    @staticmethod
    def looking(make_layer: MakeLayer, **options: object) -> tuple[ChannelLayer, ChannelLayer]:
        """A layer that works and one that looks; a layer without the extension skips the test."""
        made = make_layer(**options), make_layer(**options)
        if INSPECTION not in made[0].extensions:
            pytest.skip("this layer cannot be looked into")
        return made

    def test_a_look_takes_nothing(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        assert reader.peek("work") == []
        process.send_batch([process.prepare("work", {"n": n, "data": b"\x00"}, {"turn": n}) for n in range(3)])
        for _ in range(2):
            found = reader.peek("work")
            assert [(waiting.message, waiting.headers) for waiting in found] == [
                ({"n": n, "data": b"\x00"}, {"turn": n}) for n in range(3)
            ]
            assert {(waiting.channel, waiting.group, waiting.reason) for waiting in found} == {("work", "", "")}
            assert all(waiting.size > 10 and 0 <= waiting.age < 60 for waiting in found)
        assert process.channel_statistics("work")["messages_pending"] == 3
        assert numbers(self.take(process, "work", count=3)) == [0, 1, 2]
        assert reader.peek("work") == []

    def test_a_look_may_be_at_either_end(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        process.send_batch([process.prepare("work", {"n": n}) for n in range(30)])
        assert seen(reader.peek("work")) == list(range(10))
        assert seen(reader.peek("work", 4)) == [0, 1, 2, 3]
        assert seen(reader.peek("work", 4, newest=True)) == [26, 27, 28, 29]
        assert seen(reader.peek("work", 100, newest=True)) == list(range(30))

    def test_large_messages_cut_a_look_short(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        size = 1_000_000
        for n in range(8):
            process.send("work", {"n": n, "data": bytes(size)})
        most = MOST_BYTES // size + 1
        assert seen(reader.peek("work", 100)) == list(range(most))
        assert seen(reader.peek("work", 100, newest=True)) == list(range(8 - most, 8))

    def test_what_has_expired_is_not_seen(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer, expiry=10)
        process.send("work", {"n": 1})
        self.wait(6)
        process.send("work", {"n": 2})
        first, second = reader.peek("work")
        assert 5 < first.age - second.age < 7
        self.wait(6)
        assert seen(reader.peek("work", 1)) == [2]

    def test_a_message_keeps_its_mark_while_it_waits(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        process.send_batch([process.prepare("work", {"n": 0}) for _ in range(2)])
        self.wait(0.1)
        process.send("work", {"n": 0})
        before = [waiting.mark for waiting in reader.peek("work")]
        assert len(set(before)) == 3
        assert [waiting.mark for waiting in reader.peek("work")] == before
        self.take(process, "work", count=2)
        assert [waiting.mark for waiting in reader.peek("work")] == before[2:]

    def test_messages_for_one_process_name_their_channel_or_group(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        process.group_add("team", "process!a")
        process.send("process!b", {"n": 1})
        process.send_group("team", {"n": 2})
        found = self.in_order(reader.peek("process!"))
        assert seen(found) == [1, 2]
        assert [(waiting.channel, waiting.group) for waiting in found] == [("process!b", ""), ("process!", "team")]
        # Memberships on the same queue are for the process, and not for who looks.
        taken = self.in_order(self.take(process, "process!", count=2))
        assert taken == [("process!b", {"n": 1}), ("process!a", {"n": 2})]

    def test_a_channel_that_cannot_be_read_is_refused(self, make_layer: MakeLayer) -> None:
        _, reader = self.looking(make_layer)
        with pytest.raises(InvalidName):
            reader.peek("process!local")

    def test_groups_are_listed_with_the_largest_first(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        assert reader.group_sizes() == (0, [])
        for n in range(3):
            process.group_add("three", f"process!{n}")
        process.group_add("two", "process!0")
        process.group_add("two", "plain")
        process.group_add("one", "other!0")
        process.group_add("also-one", "plain")
        process.group_add("left", "plain")
        process.group_discard("left", "plain")
        total, largest = reader.group_sizes()
        assert total == 4
        assert largest == [("three", 3), ("two", 2), ("also-one", 1), ("one", 1)]
        assert reader.group_sizes(2) == (4, largest[:2])

    def test_some_members_of_a_group_are_named_and_all_are_counted(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer)
        everybody = {*(f"process!{n}" for n in range(40)), *(f"other!{n}" for n in range(20)), "plain"}
        for channel in everybody:
            process.group_add("team", channel)
        total, channels = reader.group_members("team")
        assert (total, set(channels)) == (61, everybody)
        assert len(channels) == 61
        total, channels = reader.group_members("team", 25)
        assert (total, len(channels)) == (61, 25)
        assert set(channels) < everybody
        assert reader.group_members("nobody") == (0, [])
        with pytest.raises(InvalidName):
            reader.group_members("no group")

    def test_a_membership_that_has_expired_is_not_counted(self, make_layer: MakeLayer) -> None:
        process, reader = self.looking(make_layer, group_expiry=5)
        process.group_add("team", "plain.old")
        process.group_add("old", "plain.old")
        self.wait(3)
        process.group_add("team", "plain.new")
        self.wait(3)
        assert reader.group_sizes() == (1, [("team", 1)])
        assert reader.group_members("team") == (1, ["plain.new"])

    def test_a_layer_without_the_extension_cannot_be_looked_into(self, make_layer: MakeLayer) -> None:
        layer = make_layer()
        if INSPECTION in layer.extensions:
            pytest.skip("this layer can be looked into")
        for look in (lambda: layer.peek("work"), layer.group_sizes, lambda: layer.group_members("team")):
            with pytest.raises(NotImplementedError, match="has no extension 'inspection'"):
                look()
