"""`routing.resolve`: from a dotted path to the object."""

from __future__ import annotations

import pytest

from routing import RoutingError
from routing.resolve import resolve

from . import consumers

HERE = "tests.routing.consumers"


def error_of(path: str) -> str:
    with pytest.raises(RoutingError) as caught:
        resolve(path, "here")
    text = str(caught.value)
    assert text.startswith("here: ")
    return text.removeprefix("here: ")


def test_a_path_names_an_attribute_of_a_module_or_of_a_class_in_it() -> None:
    assert resolve(f"{HERE}.plain", "here") is consumers.plain
    assert resolve(f"{HERE}.ByChannel.inner", "here") is consumers.ByChannel.inner


def test_a_path_may_name_a_module() -> None:
    assert resolve(HERE, "here") is consumers


@pytest.mark.parametrize("path", ["plain", "a b.c", "", ".x", "x.", "a..b"])
def test_text_that_is_no_dotted_path_is_refused(path: str) -> None:
    assert error_of(path) == f"{path!r} is not a dotted path; write it as 'package.module.name'"


def test_a_missing_module_is_named() -> None:
    assert error_of("nowhere.at.all") == "'nowhere.at.all' cannot be imported: there is no module 'nowhere'"


def test_the_part_that_is_missing_is_named_with_its_owner() -> None:
    assert error_of(f"{HERE}.nobody") == f"'{HERE}.nobody' does not exist: '{HERE}' has no attribute 'nobody'"
    assert error_of("tests.routing.missing.consumer").endswith("'tests.routing' has no attribute 'missing'")
    assert error_of(f"{HERE}.ByChannel.outer").endswith(f"'{HERE}.ByChannel' has no attribute 'outer'")


def test_an_import_that_fails_inside_the_module_is_not_taken_for_a_missing_module() -> None:
    text = error_of("tests.routing.broken.consumer")
    assert text.startswith("importing 'tests.routing.broken' for 'tests.routing.broken.consumer' failed: ")
    assert "a_module_that_does_not_exist" in text
