"""`channels.message`: the name under which applications import `Message`; its own tests are the ground floor's."""

from __future__ import annotations

from typing import Any

import channel_layer.channel
from channels.message import Message


def test_it_is_the_message_that_consumers_get() -> None:
    assert Message is channel_layer.channel.Message


def test_it_is_made_as_applications_made_it_for_their_tests(layer: Any) -> None:
    message = Message({"reply_channel": "a!b", "text": "x"}, "websocket.receive", layer)
    assert (message.channel.name, message["text"], message.channel_layer) == ("websocket.receive", "x", layer)
    assert message.reply_channel is not None
    message.reply_channel.send({"text": "y"})
    assert layer.receive(["a!"]) == ("a!b", {"text": "y"})
    assert Message({}, "x", layer).reply_channel is None
