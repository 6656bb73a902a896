"""Decorators that are ready made do what they do elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction

from channels.generic import applying

from ..messages import state_of, websocket

DECORATORS = {
    "channel_session": {"channel_session"},
    "channel_session_user": {"channel_session", "user"},
    "channel_session_user_from_http": {"channel_session", "http_session", "user"},
    "channel_and_http_session_user_from_http": {"channel_session", "http_session", "user"},
    "enforce_ordering": {"channel_session"},
}


@pytest.mark.parametrize("name", DECORATORS)
@pytest.mark.usefixtures("database")
def test_they_leave_the_same_on_the_message(layer: Any, name: str) -> None:
    def handler(message: Any, **kwargs: Any) -> Any:
        return {name for name in ("channel_session", "http_session", "user") if hasattr(message, name)}, kwargs

    async def async_handler(message: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return handler(message, **kwargs)

    expected = (DECORATORS[name], {"room": "a", "handler": "b"})
    decorated, async_decorated = (getattr(applying, name)(each) for each in (handler, async_handler))
    assert decorated(websocket(layer), room="a", handler="b") == expected
    assert asyncio.run(async_decorated(websocket(layer), room="a", handler="b")) == expected
    assert (iscoroutinefunction(decorated), iscoroutinefunction(async_decorated)) == (False, True)


def test_the_error_of_a_handler_is_the_error(layer: Any) -> None:
    def handler(message: Any) -> Any:
        message.channel_session["left"] = 1
        raise RuntimeError("a mistake")

    message = websocket(layer)
    with pytest.raises(RuntimeError, match="a mistake"):
        applying.channel_session(handler)(message)
    assert message.state == state_of(left=1)
