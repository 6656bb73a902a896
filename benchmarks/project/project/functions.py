"""Consumers as functions: an echo, a group of all sockets, and those of the studies."""

from __future__ import annotations

import time

from channels import Group, route
from channels.message import Message

PAYLOAD = 100
SLOW_SECONDS = 0.02


def echo(message: Message) -> None:
    """Send a frame back."""
    message.reply_channel.send({"text": message["text"]})


def join(message: Message) -> None:
    """Enter the group, then accept."""
    Group("all").add(message.reply_channel)
    message.reply_channel.send({"accept": True})


def send_to_all(message: Message) -> None:
    """Send what came to everybody in the group."""
    Group("all").send({"text": message["text"]})


def leave(message: Message) -> None:
    """Leave the group."""
    Group("all").discard(message.reply_channel)


def slow(message: Message) -> None:
    """Send a frame back after a while, as a consumer that waits for a database would."""
    time.sleep(SLOW_SECONDS)
    echo(message)


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


# Requests have no route: Django's views answer them.
channel_routing = [
    route("websocket.receive", echo, path=r"^/echo/$"),
    route("websocket.connect", join, path=r"^/group/$"),
    route("websocket.receive", send_to_all, path=r"^/group/$"),
    route("websocket.disconnect", leave, path=r"^/group/$"),
    route("websocket.receive", slow, path=r"^/slow/$"),
    route("websocket.receive", join_when_asked, path=r"^/join/$"),
    route("websocket.receive", echo_bytes, path=r"^/bytes/$"),
]
