"""Routing and consumers of the test project."""

from __future__ import annotations

import os
from typing import Any

from channels import Channel, Group, route
from channels.auth import channel_session_user, channel_session_user_from_http
from channels.sessions import channel_session


@channel_session_user_from_http
def connect(message: Any, room: str) -> None:
    message.channel_session["room"] = room
    message.reply_channel.send({"accept": True})
    Group(f"room-{room}").add(message.reply_channel)


@channel_session_user
def receive(message: Any) -> None:
    session = message.channel_session
    session["count"] = session.get("count", 0) + 1
    name = message.user.get_username() or "nobody"
    Group(f"room-{session['room']}").send({"text": f"{session['count']} {name}: {message['text']}"})


@channel_session
def disconnect(message: Any) -> None:
    Channel("gone").send({"room": message.channel_session["room"]})


def gone(message: Any) -> None:
    Group(f"room-{message['room']}").send({"text": "somebody left"})


def ping(message: Any) -> None:
    message.reply_channel.send({"process": os.getpid()})


channel_routing = [
    route("websocket.connect", connect, path=r"^/room/(?P<room>\w+)/$"),
    route("websocket.receive", receive),
    route("websocket.disconnect", disconnect),
    route("gone", gone),
    route("ping", ping),
]
