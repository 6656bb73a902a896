"""Named layers."""

from __future__ import annotations

import pytest

from channel_layer.exceptions import LayerConfigurationError
from channel_layer.memory import MemoryChannelLayer
from channel_layer.registry import LayerRegistry

from .interleaving import Intruder


def test_without_configuration_the_error_says_what_to_do() -> None:
    with pytest.raises(LayerConfigurationError, match=r"^no channel layer 'default'.*CHANNEL_LAYERS"):
        LayerRegistry()["default"]


def test_an_alias_that_nobody_knows_is_a_key_error() -> None:
    with pytest.raises(KeyError) as caught:
        LayerRegistry()["nosuch"]
    assert str(caught.value).startswith("no channel layer 'nosuch': nothing is configured.")


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


def test_a_thread_that_comes_while_a_layer_is_made_gets_the_same_one() -> None:
    got: list[object] = []
    intruder = Intruder(lambda: got.append(registry["default"]))

    def factory(alias: str) -> object:
        intruder()
        return object()

    registry = LayerRegistry(factory)
    got.append(registry["default"])
    intruder.finish()
    assert got[0] is got[1]


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


def test_layers_that_are_not_alone_are_told_so() -> None:
    told: list[object] = []

    class Listening(MemoryChannelLayer):
        def beside_others(self) -> None:
            told.append(self)

    first, second, third = Listening(), Listening(), Listening()
    registry = LayerRegistry(lambda alias: second)
    registry.set("default", first)
    assert registry["default"] is first
    assert told == []
    assert registry["made"] is second
    assert told == [first, second]
    registry.set("other", third)
    assert set(told) == {first, second, third}


def test_what_is_put_in_place_of_a_layer_need_not_know_of_others() -> None:
    registry = LayerRegistry()
    for alias in ("one", "other"):
        registry.set(alias, "no layer")  # type: ignore[arg-type]
    assert [registry[alias] for alias in registry] == ["no layer", "no layer"]
