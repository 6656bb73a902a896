"""`channels.test.base`, run by unittest as a project runs it."""

from __future__ import annotations

import unittest
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from channels import Channel, Group, channel_layers, route
from channels.backends import InvalidChannelLayerError
from channels.message import Message
from channels.test import ChannelTestCase, TransactionChannelTestCase

CASES = [ChannelTestCase, TransactionChannelTestCase]

Body = Callable[[Any], None]


def run(*bodies: Body, base: type[Any] = ChannelTestCase, **attributes: Any) -> unittest.TestResult:
    """Run a case of the base with these as its tests, in order."""
    tests = {f"test_{number}": body for number, body in enumerate(bodies)}
    case = type("Case", (base,), {**tests, **attributes})
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def passed(*bodies: Body, base: type[Any] = ChannelTestCase, **attributes: Any) -> bool:
    result = run(*bodies, base=base, **attributes)
    for _, trace in result.errors + result.failures:
        pytest.fail(trace)
    return result.testsRun == len(bodies)


@pytest.mark.parametrize("base", CASES)
class TestTheLayers:
    def test_sends_go_to_memory_and_not_to_the_configured_layer(self, base: type[Any]) -> None:
        configured = channel_layers["default"]

        def body(self: Any) -> None:
            assert channel_layers["default"] is not configured
            Channel("input").send({"value": 33})
            message = self.get_next_message("input", require=True)
            assert isinstance(message, Message)
            assert (message["value"], message.channel.name) == (33, "input")
            assert message.channel_layer is channel_layers["default"]

        assert passed(body, base=base)
        assert channel_layers["default"] is configured
        assert configured.receive(["input"]) == (None, None)

    def test_the_routing_is_that_of_the_settings(self, base: type[Any]) -> None:
        def body(self: Any) -> None:
            assert "gone" in channel_layers["default"].router.channels
            assert channel_layers["default"].alias == "default"

        assert passed(body, base=base)

    def test_nothing_of_one_test_is_seen_in_the_next(self, base: type[Any]) -> None:
        def leave_things(self: Any) -> None:
            Group("people").add("somebody")
            Channel("input").send({})
            channel_layers["default"].router.add_route(route("added", str))

        def find_nothing(self: Any) -> None:
            layer = channel_layers["default"]
            assert layer.group_channels("people") == []
            assert self.get_next_message("input") is None
            assert "added" not in layer.router.channels

        assert passed(leave_things, find_nothing, leave_things, find_nothing, base=base)

    def test_they_are_given_back_after_failures_of_any_kind(self, base: type[Any]) -> None:
        configured = channel_layers["default"]

        def fail(self: Any) -> None:
            raise RuntimeError

        assert len(run(fail, base=base).errors) == 1
        assert len(run(fail, base=base, setUp=fail).errors) == 1
        assert len(run(lambda self: None, base=base, tearDown=fail).errors) == 1
        assert channel_layers["default"] is configured

    def test_they_are_there_in_set_up_and_in_cleanups_without_calling_super(self, base: type[Any]) -> None:
        seen = []

        def note(self: Any) -> None:
            seen.append(channel_layers["default"])

        def set_up(self: Any) -> None:
            note(self)
            self.addCleanup(note, self)

        assert passed(note, base=base, setUp=set_up, tearDown=note)
        assert len(seen) == 4
        assert len(set(seen)) == 1

    def test_the_database_is_clean_for_each_test(self, base: type[Any]) -> None:
        def make_somebody(self: Any) -> None:
            assert not User.objects.exists()
            User.objects.create(username="ada")

        assert passed(make_somebody, make_somebody, base=base)


class TestSeveralLayers:
    def test_only_those_named_are_replaced(self) -> None:
        before = channel_layers["default"], channel_layers["other"]

        def one(self: Any) -> None:
            assert channel_layers["default"] is not before[0]
            assert channel_layers["other"] is before[1]

        def two(self: Any) -> None:
            assert channel_layers["other"] is not before[1]
            Channel("x", alias="other").send({"layer": "other"})
            assert self.get_next_message("x") is None
            assert self.get_next_message("x", alias="other")["layer"] == "other"

        assert passed(one)
        assert passed(two, test_channel_aliases=["default", "other"])
        assert (channel_layers["default"], channel_layers["other"]) == before

    def test_an_alias_that_does_not_exist_is_an_error_of_the_test_that_names_it(self) -> None:
        result = run(lambda self: None, test_channel_aliases=["default", "nowhere"])
        [(_, trace)] = result.errors
        assert "there is no channel layer 'nowhere'" in trace

    def test_the_configured_backend_need_not_be_there(self) -> None:
        layers = {"default": {"BACKEND": "no.such.Layer", "ROUTING": []}}
        with override_settings(CHANNEL_LAYERS=layers):
            assert passed(lambda self: Channel("x").send({}))
            with pytest.raises(InvalidChannelLayerError):
                channel_layers["default"]

    def test_layers_of_overridden_settings_are_taken(self) -> None:
        def body(self: Any) -> None:
            assert channel_layers["default"].router.channels == {"only"}

        layers = {"default": {"BACKEND": "asgiref.inmemory.ChannelLayer", "ROUTING": {"only": str}}}
        with override_settings(CHANNEL_LAYERS=layers):
            assert passed(body)


class TestGetNextMessage:
    def test_without_a_message_it_returns_none(self) -> None:
        def body(self: Any) -> None:
            assert self.get_next_message("nothing") is None

        assert passed(body)

    def test_a_required_message_that_is_missing_fails_the_test(self) -> None:
        result = run(lambda self: self.get_next_message("nothing", require=True))
        [(_, trace)] = result.failures
        assert "Expected a message on channel nothing, got none" in trace

    def test_each_member_of_a_group_in_one_process_gets_its_message(self) -> None:
        def body(self: Any) -> None:
            for name in ("a", "b"):
                Group("people").add(f"server!{name}")
            Group("people").send({"text": "all"})
            names = {self.get_next_message("server!").channel.name for _ in range(2)}
            assert names == {"server!a", "server!b"}
            assert self.get_next_message("server!") is None

        assert passed(body)


class TestUnderPytest(ChannelTestCase):
    """Collected by pytest, without a plugin for Django."""

    def test_the_layer_is_in_memory(self) -> None:
        Channel("input").send({"value": 1})
        message = self.get_next_message("input", require=True)
        assert message is not None
        assert message.content == {"value": 1}

    async def test_async_tests_have_it_too(self) -> None:
        await Channel("input").asend({"value": 2})
        message = self.get_next_message("input", require=True)
        assert message is not None
        assert message.content == {"value": 2}


def test_the_name_of_old_works_and_says_so() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import channels.tests as old
    assert old.ChannelTestCase is ChannelTestCase
    assert any("import from channels.test" in str(warning.message) for warning in caught)
