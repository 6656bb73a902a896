"""What happens when a page with a chart opens its WebSocket, chooses a coin and goes.

The page sends ``{"watch": coin}``. It is sent the prices of the last minutes when it comes and when it
chooses, and from then on each new one, as `demo.prices.market.encode` writes them; or ``{"refused": sentence}``.
"""

from __future__ import annotations

import json
from typing import Any

from channels import Group
from channels.security.websockets import allowed_hosts_only
from channels.sessions import channel_session
from demo import frames
from demo.prices.market import encode, history
from demo.prices.models import Coin


@allowed_hosts_only
@channel_session
def connect(message: Any, coin: str) -> None:
    """Let a page in that shows one of the coins."""
    message.reply_channel.send({"accept": True})
    watch(message, Coin(coin))


@channel_session
def receive(message: Any) -> None:
    """Show the page another coin."""
    try:
        coin = Coin(frames.read(message.get("text"))["watch"])
    except (ValueError, TypeError, KeyError):
        known = " or ".join(repr(name) for name in Coin.values)
        message.reply_channel.send({"text": json.dumps({"refused": f'Send {{"watch": {known}}}.'})})
        return
    leave(message)
    watch(message, coin)


@channel_session
def disconnect(message: Any) -> None:
    """The page is gone."""
    leave(message)


def watch(message: Any, coin: Coin) -> None:
    """Put the socket into the coin's group."""
    message.channel_session["coin"] = coin.value
    # Joining comes before looking: a price of that moment arrives twice, and the page knows it by its second.
    Group(coin.group_name).add(message.reply_channel)
    message.reply_channel.send({"text": encode(coin, history(coin))})


def leave(message: Any) -> None:
    """Take the socket out of the group that it is in."""
    name = message.channel_session.get("coin")
    if name:
        Group(Coin(name).group_name).discard(message.reply_channel)
