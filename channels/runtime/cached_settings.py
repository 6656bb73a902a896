"""Values that follow from settings, found out once and not for each message."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from django.core.signals import setting_changed

T = TypeVar("T")


def cached_until_set(*names: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
    """Make a function without arguments keep its result until one of the named settings is overridden.

    Reading a setting costs half a microsecond, and one that is not set several times as much. Django announces
    ``override_settings`` and the like by a signal; settings do not change otherwise.
    """

    def decorate(function: Callable[[], T]) -> Callable[[], T]:
        cached = functools.cache(function)

        def forget(*, setting: str, **kwargs: object) -> None:
            if setting in names:
                cached.cache_clear()

        setting_changed.connect(forget, weak=False)
        return cached

    return decorate
