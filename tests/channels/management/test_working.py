"""`channels.management.working`: what the commands that run consumers have in common."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.test import override_settings

from channel_layer.exceptions import LayerConfigurationError, LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from channels.configured_layers import ChannelLayerWrapper
from channels.management.working import log_message, open_layer, reach, route_with, websocket_protocols
from tests.channels.messages import websocket


class Away(MemoryChannelLayer):
    """A layer whose broker answers with what the test says."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def check(self) -> None:
        if self.error is not None:
            raise self.error


def wrapped(routing: Any = (), error: Exception | None = None) -> ChannelLayerWrapper:
    return ChannelLayerWrapper(Away(error), "default", routing)


def test_a_layer_is_opened_by_its_alias(layer: Any) -> None:
    assert open_layer("default") is layer


def test_a_layer_that_cannot_be_made_is_one_sentence() -> None:
    layers = {"default": {"BACKEND": "nowhere.Layer", "ROUTING": []}}
    with override_settings(CHANNEL_LAYERS=layers), pytest.raises(CommandError) as caught:
        open_layer("default")
    assert str(caught.value) == (
        "CHANNEL_LAYERS['default']: BACKEND 'nowhere.Layer' cannot be imported: No module named 'nowhere'"
    )


def test_requests_without_a_route_go_to_the_consumer_of_the_command(layer: Any) -> None:
    def views(message: Any) -> None: ...

    router = route_with(wrapped(), views)
    message = websocket(layer)
    message.channel.name = "http.request"
    assert router.match(message) == (views, {})


def test_an_application_that_is_none_is_one_sentence() -> None:
    with override_settings(ASGI_APPLICATION=f"{__name__}.websocket_protocols"), pytest.raises(CommandError) as caught:
        route_with(wrapped(), None)
    assert "which cannot be called with (scope, receive, send)" in str(caught.value)


def test_a_route_that_cannot_work_is_named_with_its_layer() -> None:
    with pytest.raises(CommandError) as caught:
        route_with(wrapped({"mail": "nowhere.consumer"}), print)
    text = str(caught.value)
    assert text.startswith("the ROUTING of channel layer 'default' does not work. route('mail', 'nowhere.consumer')")


def test_without_routes_and_application_there_is_nothing_to_run() -> None:
    layer = ChannelLayerWrapper(MemoryChannelLayer(), "default", None)
    with pytest.raises(CommandError, match=r"^CHANNEL_LAYERS\['default'\]: workers have nothing to run; set ROUTING"):
        route_with(layer, print)


def test_a_broker_that_is_away_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    reach(wrapped(error=LayerUnavailable("redis.example:6379", "no route")))
    assert "starting anyway and trying again until it answers" in caplog.text


def test_a_broker_that_is_unfit_is_one_sentence() -> None:
    with pytest.raises(CommandError, match=r"^channel layer 'default': it is too old$"):
        reach(wrapped(error=LayerConfigurationError("it is too old")))


def test_a_broker_in_order_is_passed_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    reach(wrapped())
    assert caplog.records == []


def test_a_message_is_logged_in_one_line_without_control_characters(
    layer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "channels.messages")
    log_message(websocket(layer, path="/a\n/"), 0.0042, "ok")
    assert caplog.messages == ["websocket.connect     /a\\n/                             4.2 ms  ok"]


def test_subprotocols_are_a_list_of_names() -> None:
    for given, found in (([], ()), (None, ()), (["a", "b"], ("a", "b"))):
        with override_settings(CHANNELS_WS_PROTOCOLS=given):
            assert websocket_protocols() == found
    for wrong in ("chat", [1], [""]):
        with override_settings(CHANNELS_WS_PROTOCOLS=wrong), pytest.raises(ImproperlyConfigured, match="is a list of"):
            websocket_protocols()
