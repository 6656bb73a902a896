"""`channels.configured_layers` and `channels.backends`: from the settings to layers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import modify_settings, override_settings

import channels
from channel_layer.draft import DraftChannelLayer
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import channel_layers as registry
from channels.asgi import InvalidChannelLayerError, channel_layers, get_channel_layer
from channels.base_layer import BaseChannelLayer
from channels.configured_layers import require_work
from channels.handler import ViewConsumer
from routing import RoutingError, route

from .messages import request

MEMORY = "channel_layer.memory.MemoryChannelLayer"


class SomebodysLayer(BaseChannelLayer):
    """A layer for Channels 2 to 4 that is not of this project."""


def error_of(alias: str = "default", **setting: Any) -> str:
    with override_settings(CHANNEL_LAYERS={"default": setting}), pytest.raises(InvalidChannelLayerError) as caught:
        channel_layers[alias]
    return str(caught.value)


def made(**setting: Any) -> Any:
    with override_settings(CHANNEL_LAYERS={"default": {"ROUTING": [], **setting}}):
        return channel_layers["default"]


def test_the_settings_name_the_layers() -> None:
    assert sorted(channel_layers) == ["default", "other"]
    assert "other" in channel_layers
    assert "third" not in channel_layers
    assert isinstance(channel_layers["other"].channel_layer, MemoryChannelLayer)


def test_a_layer_is_made_once_and_known_to_the_registry_of_the_ground_floor() -> None:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY, "ROUTING": []}}):
        assert channel_layers["default"] is channel_layers["default"]
        assert registry["default"] is channels.channel_layers["default"]
        assert channels.Channel("x").channel_layer is channel_layers["default"]


def test_the_wrapper_knows_its_place_and_delegates_the_rest() -> None:
    wrapper = made(BACKEND=MEMORY, CONFIG={"expiry": 7}, ROUTING="tests.channels.project_routing.channel_routing")
    assert (wrapper.alias, wrapper.local_only, wrapper.expiry) == ("default", True, 7)
    assert wrapper.routing == "tests.channels.project_routing.channel_routing"
    wrapper.send("x", {"a": 1})
    assert wrapper.channel_layer.receive(["x"]) == ("x", {"a": 1})
    assert "groups" in wrapper.extensions
    with pytest.raises(AttributeError, match="MemoryChannelLayer"):
        wrapper.nonsense  # noqa: B018


def test_the_router_sends_what_no_route_takes_to_djangos_views(layer: Any) -> None:
    wrapper = made(BACKEND=MEMORY, ROUTING="tests.channels.project_routing.channel_routing")
    assert wrapper.router is wrapper.router
    assert wrapper.router.channels >= {"http.request", "gone", "websocket.receive"}
    consumer, kwargs = wrapper.router.match(request(layer))
    assert isinstance(consumer, ViewConsumer)
    assert kwargs == {}


def test_the_routing_is_not_resolved_before_somebody_needs_it() -> None:
    wrapper = made(BACKEND=MEMORY, ROUTING="nowhere.to.be.found")
    with pytest.raises(RoutingError, match="there is no module 'nowhere'"):
        wrapper.router  # noqa: B018


def test_a_test_layer_is_made_with_its_own_options() -> None:
    assert channel_layers.make_test_backend("default").capacity.of_reader("x") == 5
    with pytest.raises(InvalidChannelLayerError, match=r"CHANNEL_LAYERS\['other'\]: TEST_CONFIG is missing"):
        channel_layers.make_test_backend("other")


def test_a_missing_backend() -> None:
    assert "BACKEND is missing" in error_of(ROUTING=[])


@pytest.mark.parametrize("routing", [{}, {"ROUTING": ""}, {"ROUTING": None}])
def test_without_a_routing_there_has_to_be_an_application(routing: Any) -> None:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": MEMORY, **routing}}):
        wrapper = channel_layers["default"]
        assert wrapper.routing is None
        assert wrapper.router.channels >= {"http.request"}
        with pytest.raises(InvalidChannelLayerError, match=r"'default'\]: workers have nothing to run; set ROUTING to"):
            require_work("default", wrapper.routing)
        with override_settings(ASGI_APPLICATION="project.asgi.application"):
            require_work("default", wrapper.routing)
    require_work("default", [])


def test_a_layer_of_others_for_channels_4_cannot_carry_connections() -> None:
    assert error_of(BACKEND=f"{__name__}.SomebodysLayer") == (
        f"CHANNEL_LAYERS['default']: BACKEND '{__name__}.SomebodysLayer' is a layer for Channels 2 to 4: "
        "get_channel_layer() returns it, and it cannot carry connections between daphne and workers; use "
        "'channel_layer.redis.RedisChannelLayer' for that"
    )


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": MEMORY, "ROUTING": []}}])
def test_an_unknown_alias_is_a_key_error_too(layers: Any) -> None:
    with override_settings(CHANNEL_LAYERS=layers), pytest.raises(KeyError, match="there is no channel layer 'nosuch'"):
        channel_layers["nosuch"]


def test_an_unknown_alias_lists_the_known_ones() -> None:
    assert error_of("mail", BACKEND=MEMORY, ROUTING=[]) == (
        "there is no channel layer 'mail'; CHANNEL_LAYERS has 'default'"
    )


def test_settings_without_layers_say_so() -> None:
    with override_settings(CHANNEL_LAYERS={}), pytest.raises(InvalidChannelLayerError, match="have no CHANNEL_LAYERS"):
        get_channel_layer()
    with override_settings(CHANNEL_LAYERS=["x"]), pytest.raises(InvalidChannelLayerError, match="is a dict of aliases"):
        channel_layers.configs  # noqa: B018
    with override_settings(CHANNEL_LAYERS={"default": "x"}), pytest.raises(InvalidChannelLayerError, match="is a dict"):
        channel_layers["default"]


def test_a_project_without_the_application_is_told_so() -> None:
    with (
        modify_settings(INSTALLED_APPS={"remove": "channels"}),
        pytest.raises(InvalidChannelLayerError, match="'channels' is missing from INSTALLED_APPS"),
    ):
        get_channel_layer()


def test_a_layer_can_be_put_in_place_of_another() -> None:
    mine = MemoryChannelLayer()
    before = channel_layers.set("default", mine)
    assert channel_layers["default"] is mine
    assert channel_layers.set("default", before) is mine


def test_routes_in_a_list_in_the_settings() -> None:
    def consumer(message: Any) -> None: ...

    assert "mine" in made(BACKEND=MEMORY, ROUTING=[route("mine", consumer)]).router.channels


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_package_can_be_imported_without_settings() -> None:
    modules = "channels.asgi, channels.exceptions, channels.message, channels.routing, channels.signals"
    names = "Channel, Group, route, include, channel_layers, __version__"
    found = run(f"import {modules}; from channels import {names}; print(__version__)")
    assert (found.returncode, found.stdout.strip()) == (0, channels.__version__), found.stderr


def test_a_layer_for_channels_1_is_adapted(tmp_path: Path) -> None:
    setting = {"BACKEND": "tests.fixtures.draft_layer.FileChannelLayer", "CONFIG": {"path": str(tmp_path / "layer")}}
    wrapper = made(**setting)
    assert isinstance(wrapper.channel_layer, DraftChannelLayer)
    wrapper.send("x", {"a": 1})
    assert wrapper.channel_layer.draft.receive(["x"]) == ("x", {"a": 1})
