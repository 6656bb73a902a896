"""`channels.asgi`: what a project's ``asgi.py`` imports."""

from __future__ import annotations

import pytest

from channel_layer.memory import MemoryChannelLayer
from channels.asgi import InvalidChannelLayerError, channel_layers, get_channel_layer
from channels.configured_layers import channel_layers as manager

from .test_configured_layers import run


def test_it_has_the_manager_of_the_settings_layers() -> None:
    assert channel_layers is manager


def test_an_alias_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidChannelLayerError, match=r"^there is no channel layer 'mail'; CHANNEL_LAYERS has "):
        get_channel_layer("mail")


def test_get_channel_layer_gives_the_layer_itself() -> None:
    assert isinstance(get_channel_layer("other"), MemoryChannelLayer)
    assert get_channel_layer("other") is channel_layers["other"].channel_layer


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "DJANGO_SETTINGS_MODULE is not set; call os.environ.setdefault("),
        ({"DJANGO_SETTINGS_MODULE": "no.such.settings"}, "Django cannot be set up: No module named 'no'"),
    ],
)
def test_get_channel_layer_says_what_is_wrong_with_the_settings(environment: dict[str, str], words: str) -> None:
    code = """
from channels.asgi import get_channel_layer, InvalidChannelLayerError
try:
    get_channel_layer()
except InvalidChannelLayerError as error:
    print(error)
"""
    assert words in run(code, **environment).stdout
