"""`channels.test.layers`: layers for the time of one test."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import SimpleTestCase

from channels import Channel, channel_layers, route
from channels.test import Client
from channels.test.base import ChannelTestCaseMixin
from channels.test.layers import in_memory, placed

from .test_base import passed


def test_memory_layers_have_the_routing_and_come_empty(layer: Any) -> None:
    layer.routing = [route("input", str)]
    layer.send("input", {})
    with in_memory(["default"]):
        memory = channel_layers["default"]
        assert memory is not layer
        assert memory.router.channels == {"input"}
        assert memory.receive(["input"]) == (None, None)
        memory.routing.append("something")
    assert len(layer.routing) == 1
    assert channel_layers["default"] is layer


def test_nothing_stands_behind_the_routes_unless_it_is_asked_for(layer: Any) -> None:
    with in_memory(["default"]):
        assert channel_layers["default"].router.channels == set()
        assert "http.request" in channel_layers["default"].serve_http_with(str).channels


def test_a_layer_put_in_place_is_taken_back_after_errors(layer: Any) -> None:
    with pytest.raises(KeyError), placed("default", "another"):
        raise KeyError
    assert channel_layers["default"] is layer


def test_test_cases_without_a_database_may_have_them_too() -> None:
    def body(self: Any) -> None:
        Channel("x").send({"a": 1})
        assert Client().get_next_message("x") is not None

    assert passed(body, base=type("Base", (ChannelTestCaseMixin, SimpleTestCase), {}))
