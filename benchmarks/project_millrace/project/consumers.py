"""An echo, and a group of all sockets."""

from __future__ import annotations

from channels import Group
from channels.message import Message


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
