"""Fixtures that tests of the worker share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .tools import Frozen


@pytest.fixture
def frozen() -> Iterator[Frozen]:
    layer = Frozen()
    yield layer
    layer.thawed.set()
