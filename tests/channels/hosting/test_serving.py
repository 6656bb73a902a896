from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer
from channels.configured_layers import channel_layers
from channels.hosting.serving import layer_of
from interface_server.cli import LayerPathError, load_layer


async def application(scope: Any, receive: Any, send: Any) -> None: ...


MEMORY = {"default": {"BACKEND": "channel_layer.memory.MemoryChannelLayer", "ROUTING": []}}


def test_an_application_is_served_over_the_default_layer_of_its_project() -> None:
    with override_settings(CHANNEL_LAYERS=MEMORY):
        layer = load_layer(f"{__name__}:application")
        assert isinstance(layer, MemoryChannelLayer)
        assert layer is channel_layers["default"].channel_layer


def test_a_project_without_layers_is_told_what_to_set() -> None:
    with override_settings(CHANNEL_LAYERS={}), pytest.raises(LayerConfigurationError, match="'default'"):
        layer_of(application)


def test_settings_that_cannot_be_loaded_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'project'")

    monkeypatch.setattr("channels.hosting.serving.set_up", fail)
    assert settings.configured
    with pytest.raises(LayerConfigurationError, match=r"Django cannot be set up: No module named 'project'"):
        layer_of(application)


def test_what_cannot_be_called_is_not_served() -> None:
    with pytest.raises(LayerPathError, match="of type dict, not an ASGI application or a channel layer"):
        load_layer(f"{__name__}:MEMORY")
