"""`channels.middleware`."""

from __future__ import annotations

from typing import Any

import pytest

from channels.middleware import BaseMiddleware

from .coroutines import drive


def test_what_is_put_into_the_scope_stays_inside() -> None:
    seen: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scope["inner"] = True
        seen.append(scope)

    class Outer(BaseMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
            await super().__call__(scope, receive, send)
            seen.append(scope)

    drive(Outer(inner), token="x")
    assert seen[0]["token"] == "x"
    assert "inner" not in seen[1]


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="not 'chat'"):
        BaseMiddleware("chat")
