"""Named layers."""

from __future__ import annotations

import threading

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import LayerRegistry


def test_without_configuration_the_error_says_what_to_do() -> None:
    with pytest.raises(LayerConfigurationError, match=r"no channel layer 'default'.*CHANNEL_LAYERS"):
        LayerRegistry()["default"]


def test_a_layer_is_made_on_first_use_and_once() -> None:
    made: list[str] = []

    def factory(alias: str) -> MemoryChannelLayer:
        made.append(alias)
        return MemoryChannelLayer()

    registry = LayerRegistry(factory)
    assert "default" not in registry
    assert registry["default"] is registry["default"]
    assert registry["other"] is not registry["default"]
    assert made == ["default", "other"]
    assert list(registry) == ["default", "other"]
    assert "default" in registry


def test_threads_that_come_at_once_get_the_same_layer() -> None:
    together = threading.Barrier(4)
    registry = LayerRegistry(lambda alias: object())
    got: list[object] = []

    def use() -> None:
        together.wait(10)
        got.append(registry["default"])

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert len(set(map(id, got))) == 1


def test_an_error_of_the_factory_reaches_the_caller_and_is_not_remembered() -> None:
    answers: list[object] = [KeyError("unknown"), "layer"]

    def factory(alias: str) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    registry = LayerRegistry(factory)
    with pytest.raises(KeyError):
        registry["default"]
    assert registry["default"] == "layer"


def test_set_puts_in_takes_out_and_returns_what_was_there() -> None:
    registry = LayerRegistry()
    one, other = MemoryChannelLayer(), MemoryChannelLayer()
    assert registry.set("default", one) is None
    assert registry.set("default", other) is one
    assert registry["default"] is other
    assert registry.set("default", None) is other
    assert "default" not in registry
