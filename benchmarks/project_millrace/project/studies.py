"""Consumers of the studies: a slow one, one that joins when it is asked to, an echo of any message."""

from __future__ import annotations

import time

from channels import Group
from channels.message import Message

from .consumers import send_to_all

PAYLOAD = 100
SLOW_SECONDS = 0.02


def slow(message: Message) -> None:
    """Send a frame back after a while, as a consumer that waits for a database would."""
    time.sleep(SLOW_SECONDS)
    message.reply_channel.send({"text": message["text"]})


def join_when_asked(message: Message) -> None:
    """Enter the group and say so; send one text to all members, or as many as it says."""
    text = message["text"]
    if text == "join":
        Group("all").add(message.reply_channel)
        message.reply_channel.send({"text": "joined"})
    elif " times " in text:
        for number in range(int(text.split(" ")[0])):
            Group("all").send({"text": f"{text} {number} ".ljust(PAYLOAD, ".")})
    else:
        send_to_all(message)


def echo_bytes(message: Message) -> None:
    """Send a binary frame back."""
    message.reply_channel.send({"bytes": message["bytes"]})
