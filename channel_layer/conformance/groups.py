"""Groups: who is a member, and who gets which message."""

from __future__ import annotations

import asyncio

from ..delivery import Delivery
from ..layer import ChannelLayer
from .tools import MakeLayer, Tools, numbers


def addressees(deliveries: list[Delivery]) -> list[set[str]]:
    """The full channel names each delivery is for."""
    return [
        {item.channel} if item.members is None else {item.channel + local for local in item.members}
        for item in deliveries
    ]


class GroupRules(Tools):
    """ASGI 1 draft, "Groups", and this project's one message per process."""

    def test_ordinary_channels_are_members_like_any_other(self, make_layer: MakeLayer) -> None:
        sender, reader = make_layer(), make_layer()
        single = reader.new_channel("single?")
        sender.group_add("group", "plain")
        sender.group_add("group", single)
        sender.send_group("group", {"n": 1})
        for name in ("plain", single):
            [delivery] = self.take_many(reader, name)
            assert (delivery.channel, delivery.message, delivery.members) == (name, {"n": 1}, None)
        assert self.nothing(reader, "plain", single)

    def test_members_of_one_process_get_one_delivery_together(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        for local in "abc":
            worker.group_add("group", f"process!{local}")
        worker.send_group("group", {"n": 1})
        [delivery] = self.take_many(server, "process!")
        assert (delivery.channel, delivery.message) == ("process!", {"n": 1})
        assert set(delivery.members or ()) == {"a", "b", "c"}
        assert self.nothing(server, "process!")

    def test_the_single_form_gives_each_member_its_message(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        for local in "abc":
            worker.group_add("group", f"process!{local}")
        worker.send_group("group", {"n": 1})
        taken = self.take(server, "process!", count=3)
        assert {channel for channel, _ in taken} == {"process!a", "process!b", "process!c"}
        assert numbers(taken) == [1, 1, 1]
        assert self.nothing(server, "process!")

    def test_members_in_several_processes_all_get_the_message(self, make_layer: MakeLayer) -> None:
        worker, one, other = make_layer(), make_layer(), make_layer()
        for channel in ("one!a", "one!b", "other!a", "plain"):
            worker.group_add("group", channel)
        worker.send_group("group", {"n": 1})
        assert addressees(self.take_many(one, "one!")) == [{"one!a", "one!b"}]
        assert addressees(self.take_many(other, "other!")) == [{"other!a"}]
        assert addressees(self.take_many(worker, "plain")) == [{"plain"}]

    def test_a_message_to_a_group_reaches_that_group_only(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        layer.group_add("another", "process!b")
        layer.send_group("group", {"n": 1})
        layer.send_group("another", {"n": 2})
        taken = self.in_order(self.take(layer, "process!", count=2))
        assert taken == [("process!a", {"n": 1}), ("process!b", {"n": 2})]

    def test_sending_to_a_group_without_members_is_no_error(self, layer: ChannelLayer) -> None:
        layer.send_group("deserted", {"n": 1})
        assert layer.group_channels("deserted") == []

    def test_adding_twice_makes_one_member(self, layer: ChannelLayer) -> None:
        for channel in ("process!a", "plain"):
            layer.group_add("group", channel)
            layer.group_add("group", channel)
        layer.send_group("group", {"n": 1})
        assert self.take(layer, "process!") == [("process!a", {"n": 1})]
        assert self.take(layer, "plain") == [("plain", {"n": 1})]
        assert self.nothing(layer, "process!", "plain")
        assert sorted(layer.group_channels("group")) == ["plain", "process!a"]

    def test_who_was_discarded_gets_nothing(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        for channel in ("process!a", "process!b", "plain"):
            worker.group_add("group", channel)
        worker.group_discard("group", "process!a")
        worker.group_discard("group", "plain")
        worker.send_group("group", {"n": 1})
        assert self.take(server, "process!") == [("process!b", {"n": 1})]
        assert self.nothing(server, "process!", "plain")
        assert worker.group_channels("group") == ["process!b"]

    def test_the_last_member_leaves_an_empty_group(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        layer.group_discard("group", "process!a")
        layer.send_group("group", {"n": 1})
        assert self.nothing(layer, "process!")
        assert layer.group_channels("group") == []

    def test_discarding_a_stranger_is_no_error(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        layer.group_discard("group", "process!b")
        layer.group_discard("group", "plain")
        layer.group_discard("deserted", "process!a")
        assert layer.group_channels("group") == ["process!a"]

    def test_who_comes_back_gets_messages_again(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        layer.group_discard("group", "process!a")
        layer.group_add("group", "process!a")
        layer.send_group("group", {"n": 1})
        assert self.take(layer, "process!") == [("process!a", {"n": 1})]

    def test_who_is_added_after_the_send_does_not_get_it(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        worker.group_add("group", "process!a")
        worker.send_group("group", {"n": 1})
        worker.group_add("group", "process!b")
        worker.group_add("group", "plain")
        worker.send_group("group", {"n": 2})
        deliveries = self.take_many(server, "process!", count=2)
        assert numbers(deliveries) == [1, 2]
        assert addressees(deliveries) == [{"process!a"}, {"process!a", "process!b"}]
        assert numbers(self.take(server, "plain")) == [2]

    def test_who_is_discarded_after_the_send_still_gets_it(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        for channel in ("process!a", "process!b", "plain"):
            worker.group_add("group", channel)
        worker.send_group("group", {"n": 1})
        worker.group_discard("group", "process!b")
        worker.group_discard("group", "plain")
        worker.send_group("group", {"n": 2})
        deliveries = self.take_many(server, "process!", count=2)
        assert numbers(deliveries) == [1, 2]
        assert addressees(deliveries) == [{"process!a", "process!b"}, {"process!a"}]
        assert numbers(self.take(server, "plain")) == [1]
        assert self.nothing(server, "plain")

    def test_the_members_of_a_delivery_do_not_change_afterwards(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        layer.send_group("group", {"n": 1})
        [delivery] = self.take_many(layer, "process!")
        layer.group_add("group", "process!b")
        layer.group_discard("group", "process!a")
        layer.send("process!z", {"n": 2})
        self.take_many(layer, "process!")
        assert addressees([delivery]) == [{"process!a"}]

    def test_group_channels_are_full_names(self, make_layer: MakeLayer) -> None:
        one, other = make_layer(), make_layer()
        for channel in ("process!a", "process!b", "plain", "single?x"):
            one.group_add("group", channel)
        assert sorted(other.group_channels("group")) == ["plain", "process!a", "process!b", "single?x"]

    def test_a_membership_expires(self, make_layer: MakeLayer) -> None:
        layer = make_layer(group_expiry=1)
        layer.group_add("group", "process!a")
        layer.group_add("group", "plain")
        layer.send_group("group", {"n": 1})
        assert numbers(self.take(layer, "process!") + self.take(layer, "plain")) == [1, 1]
        self.wait(1.3)
        assert layer.group_channels("group") == []
        layer.send_group("group", {"n": 2})
        assert self.nothing(layer, "process!", "plain")

    def test_a_process_hears_of_its_members_however_late_it_looks(self, make_layer: MakeLayer) -> None:
        server, worker = make_layer(expiry=0.3), make_layer(expiry=0.3)
        worker.group_add("group", "process!a")
        worker.group_add("group", "process!b")
        worker.group_discard("group", "process!b")
        self.wait(0.5)
        worker.send_group("group", {"n": 1})
        assert addressees(self.take_many(server, "process!")) == [{"process!a"}]

    def test_a_membership_expires_beside_one_that_was_renewed(self, make_layer: MakeLayer) -> None:
        layer = make_layer(group_expiry=2)
        for channel in ("process!kept", "process!gone", "plain.kept", "plain.gone"):
            layer.group_add("group", channel)
        layer.send_group("group", {"n": 1})
        self.take_many(layer, "process!")
        self.take(layer, "plain.kept")
        self.take(layer, "plain.gone")
        self.wait(1.3)
        layer.group_add("group", "process!kept")
        layer.group_add("group", "plain.kept")
        self.wait(1.3)
        assert sorted(layer.group_channels("group")) == ["plain.kept", "process!kept"]
        layer.send_group("group", {"n": 2})
        assert addressees(self.take_many(layer, "process!")) == [{"process!kept"}]
        assert numbers(self.take(layer, "plain.kept")) == [2]
        assert self.nothing(layer, "plain.gone", "process!")

    def test_channels_that_are_gone_leave_every_group(self, make_layer: MakeLayer) -> None:
        worker, server = make_layer(), make_layer()
        for group in ("group", "another"):
            worker.group_add(group, "process!gone")
            worker.group_add(group, "process!kept")
        worker.send_group("group", {"n": 1})
        self.take_many(server, "process!")

        async def forget() -> None:
            await server.aforget(["process!gone", "process!never.was"])
            await server.aclose()

        asyncio.run(forget())
        for n, group in enumerate(("group", "another")):
            assert worker.group_channels(group) == ["process!kept"]
            worker.send_group(group, {"n": n})
            assert addressees(self.take_many(server, "process!")) == [{"process!kept"}]

    def test_a_batch_may_mix_channels_and_groups(self, layer: ChannelLayer) -> None:
        layer.group_add("group", "process!a")
        refused = layer.send_batch(
            [
                layer.prepare("process!a", {"n": 1}),
                layer.prepare("group", {"n": 2}, group=True),
                layer.prepare("process!b", {"n": 3}),
                layer.prepare("plain", {"n": 4}),
            ]
        )
        assert refused == []
        deliveries = self.in_order(self.take_many(layer, "process!", count=3))
        assert numbers(deliveries) == [1, 2, 3]
        assert addressees(deliveries) == [{"process!a"}, {"process!a"}, {"process!b"}]
        assert numbers(self.take(layer, "plain")) == [4]
