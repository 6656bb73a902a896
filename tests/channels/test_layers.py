"""`channels.layers`: the layers of the settings, as Channels 2 to 4 have them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

import channels
from channel_layer.memory import MemoryChannelLayer
from channels import Group
from channels.configured_layers import channel_layers as configured
from channels.layers import (
    BaseChannelLayer,
    ChannelLayerManager,
    CoroutineChannelLayer,
    InMemoryChannelLayer,
    InvalidChannelLayerError,
    channel_layers,
    get_channel_layer,
)

IN_MEMORY = "channels.layers.InMemoryChannelLayer"


class OwnLayer(InMemoryChannelLayer):
    """A subclass as applications have them."""


class SomebodysLayer(BaseChannelLayer):
    """A layer that is not of this project."""

    def __init__(self, color: str = "red", **options: Any) -> None:
        super().__init__(**options)
        self.color = color


def entry(backend: str = IN_MEMORY, **options: Any) -> Any:
    return override_settings(CHANNEL_LAYERS={"default": {"BACKEND": backend, **options}})


def test_without_layers_there_is_none() -> None:
    with override_settings(CHANNEL_LAYERS={}):
        assert get_channel_layer() is None
    with entry():
        assert get_channel_layer("other") is None
        with pytest.raises(KeyError):
            channel_layers["other"]


def test_a_layer_is_made_once_until_the_setting_changes() -> None:
    with entry():
        assert channel_layers.backends == {}
        layer = get_channel_layer()
        assert isinstance(layer, InMemoryChannelLayer)
        assert get_channel_layer() is layer is channel_layers[channels.DEFAULT_CHANNEL_LAYER]
        assert channel_layers.backends == {"default": layer}
        assert channel_layers.make_backend("default") is not layer
        assert "default" in channel_layers
        assert "other" not in channel_layers
    assert channel_layers.backends == {}


def test_an_entry_with_a_routing_serves_both_generations() -> None:
    with entry("channel_layer.memory.MemoryChannelLayer", ROUTING=[]):
        layer = get_channel_layer()
        assert layer.channel_layer is configured["default"].channel_layer

        async def join_and_receive() -> Any:
            name = await layer.new_channel()
            await layer.group_add("g", name)
            Group("g").send({"text": "hello"})
            return await layer.receive(name)

        assert async_to_sync(join_and_receive)() == {"text": "hello"}


def test_a_layer_that_a_test_puts_in_place_is_the_one_below() -> None:
    with entry():
        before = get_channel_layer()
        mine = MemoryChannelLayer()
        configured.set("default", mine)
        assert get_channel_layer().channel_layer is mine
        assert get_channel_layer() is get_channel_layer() is not before


def test_a_layer_can_be_put_in_place_and_taken_away() -> None:
    with entry():
        first = get_channel_layer()
        mine = InMemoryChannelLayer()
        assert channel_layers.set("default", mine) is first
        assert get_channel_layer() is mine
        assert channel_layers.set("default", None) is mine
        assert get_channel_layer() not in (mine, None)


def test_a_test_layer_has_its_own_options() -> None:
    with entry(TEST_CONFIG={"expiry": 100_500}):
        assert ChannelLayerManager().make_test_backend("default").expiry == 100_500
    for backend in (IN_MEMORY, f"{__name__}.SomebodysLayer"):
        with entry(backend), pytest.raises(InvalidChannelLayerError, match="TEST_CONFIG is missing"):
            channel_layers.make_test_backend("default")


def test_a_subclass_of_an_application_carries_connections() -> None:
    with entry(f"{__name__}.OwnLayer", CONFIG={"capacity": 3}):
        layer = get_channel_layer()
        assert isinstance(layer, OwnLayer)
        assert configured["default"].channel_layer is layer.channel_layer


def test_a_layer_of_others_is_returned_as_it_is() -> None:
    options = {"CONFIG": {"color": "blue", "expiry": 5}, "TEST_CONFIG": {"color": "green"}}
    with entry(f"{__name__}.SomebodysLayer", **options):
        layer = get_channel_layer()
        assert isinstance(layer, SomebodysLayer)
        assert not isinstance(layer, CoroutineChannelLayer)
        assert (layer.color, layer.expiry) == ("blue", 5)
        assert get_channel_layer() is layer
        assert channel_layers.make_backend("default") is not layer
        assert channel_layers.make_test_backend("default").color == "green"


@pytest.mark.parametrize(
    ("backend", "options", "words"),
    [
        ("no.such.Layer", {}, "BACKEND 'no.such.Layer' cannot be imported"),
        (IN_MEMORY, {"CONFIG": {"speed": 7}}, "CONFIG has no option 'speed'; InMemoryChannelLayer takes capacity"),
        (IN_MEMORY, {"CONFIG": {"expiry": -1}}, "expiry must be a number above 0"),
    ],
)
def test_an_entry_that_cannot_work_says_why(backend: str, options: Any, words: str) -> None:
    with entry(backend, **options), pytest.raises(InvalidChannelLayerError, match=words):
        get_channel_layer()


def test_sync_code_sends_to_a_consumer_s_group() -> None:
    with entry():
        layer = get_channel_layer()

        async def consume() -> Any:
            name = await layer.new_channel()
            await layer.group_add("g", name)
            await asyncio.to_thread(async_to_sync(layer.group_send), "g", {"type": "hello"})
            return await layer.receive(name)

        assert asyncio.run(consume()) == {"type": "hello"}
