"""The table of delayed messages, empty before and after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    from channels.delay.models import DelayedMessage

    DelayedMessage.objects.all().delete()
    yield
    DelayedMessage.objects.all().delete()
