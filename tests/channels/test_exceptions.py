"""`channels.exceptions`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import channel_layer.exceptions
import workers.exceptions
from channels import exceptions
from channels.backends import InvalidChannelLayerError
from channels.exceptions import DenyConnection, WebsocketCloseException

from .messages import replies, websocket


def test_there_is_one_root() -> None:
    own = inspect.getmembers(exceptions, inspect.isclass)
    classes = [member for _, member in own if member.__module__ == exceptions.__name__]
    assert len(classes) == 13
    assert all(issubclass(one, exceptions.ChannelsException) for one in classes)


def test_workers_know_them() -> None:
    assert issubclass(exceptions.ConsumeLater, workers.exceptions.ConsumeLater)
    assert issubclass(DenyConnection, workers.exceptions.ChannelSocketException)


def test_deny_connection_rejects_and_drops_what_was_queued(layer: Any) -> None:
    DenyConnection().run(websocket(layer))
    assert replies(layer) == [{"accept": False}]
    assert DenyConnection.keeps_sends is False


def test_deny_connection_can_only_reject_a_connect(layer: Any) -> None:
    with pytest.raises(ValueError, match=r"raised for a message on 'websocket.receive'; it can only reject"):
        DenyConnection().run(websocket(layer, "receive"))
    assert replies(layer) == []


@pytest.mark.parametrize(("code", "sent"), [(None, 1000), (1000, 1000), (3000, 3000), (4999, 4999)])
def test_a_socket_can_be_closed_with_a_code(layer: Any, code: int | None, sent: int) -> None:
    WebsocketCloseException(code).run(websocket(layer, "receive"))
    assert replies(layer) == [{"close": sent}]
    assert WebsocketCloseException.keeps_sends is True


def test_a_socket_can_be_closed_with_a_reason(layer: Any) -> None:
    WebsocketCloseException(4000, "because").run(websocket(layer, "receive"))
    assert replies(layer) == [{"close": 4000, "reason": "because"}]


@pytest.mark.parametrize("code", [0, 999, 1001, 1006, 2999, 5000, True, "1000", 1000.0])
def test_codes_that_applications_may_not_send_are_refused(code: Any) -> None:
    with pytest.raises(ValueError, match="code 1000 or 3000 to 4999, not"):
        WebsocketCloseException(code)


def test_the_names_of_channels_4_are_the_layers_own() -> None:
    assert exceptions.ChannelFull is channel_layer.exceptions.ChannelFull
    assert exceptions.MessageTooLarge is channel_layer.exceptions.MessageTooLarge
    assert exceptions.InvalidChannelLayerError is InvalidChannelLayerError


def test_a_timeout_is_an_abort() -> None:
    assert issubclass(exceptions.RequestTimeout, exceptions.RequestAborted)
