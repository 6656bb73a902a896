"""What happens when a room's WebSocket opens, says something and closes.

The page sends JSON objects, each with one or both of

* ``name``: what this person is called from now on,
* ``text`` with ``key``: something to say, and a UUID by which the page knows it again,

and is sent objects with ``messages`` (a list, see `Message.as_dict`), ``here`` (how many people have the room
open) or ``refused`` (a sentence, with the ``key`` it is about).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import QueryDict

from channels import Group
from channels.exceptions import DenyConnection
from channels.security.websockets import allowed_hosts_only
from channels.sessions import channel_session
from demo import frames
from demo.chat.models import NAME_LENGTH, TEXT_LENGTH, Message, Room

CATCH_UP = 500
"""How many missed messages a page that was away is sent at most."""

BATCH = 50
"""How many messages go into one frame."""


@allowed_hosts_only
@channel_session
def connect(message: Any, slug: str) -> None:
    """Let somebody in: ``?name=…&after=…``, the latter the id of the last message the page has."""
    room = Room.objects.filter(slug=slug).first()
    if room is None:
        raise DenyConnection(f"there is no room {slug!r}")
    message.reply_channel.send({"accept": True})

    query = QueryDict(message["query_string"])
    message.channel_session["room"] = slug
    message.channel_session["name"] = clean_name(query.get("name"))

    # Joining comes before looking: what is said in between arrives twice, and the page knows it by its id.
    group = Group(room.group_name)
    group.add(message.reply_channel)
    missed = [said.as_dict() for said in room.newest(CATCH_UP, after=clean_id(query.get("after")))]
    for start in range(0, len(missed), BATCH):
        reply(message, messages=missed[start : start + BATCH])
    tell_who_is_here(group)


@channel_session
def receive(message: Any) -> None:
    """Take a name, keep what was said, and pass it on to everybody in the room."""
    try:
        said = frames.read(message.get("text"))
        name, text = said.get("name"), said.get("text")
        key = None if text is None else uuid.UUID(said.get("key"))
    except (ValueError, TypeError, AttributeError):
        reply(message, refused="That was not a JSON object with a name, or with a text and the UUID that is its key.")
        return

    if name is not None:
        message.channel_session["name"] = clean_name(name)
    if key is None:
        return
    if not isinstance(text, str) or not text.strip() or len(text) > TEXT_LENGTH or "\0" in text:
        reply(message, refused=f"A message is a text of 1 to {TEXT_LENGTH} characters.", key=str(key))
        return

    room = Room.objects.get(slug=message.channel_session["room"])
    saved, new = Message.objects.get_or_create(
        room=room, key=key, defaults={"name": message.channel_session["name"], "text": text.strip()}
    )
    if new:
        Group(room.group_name).send({"text": json.dumps({"messages": [saved.as_dict()]})})
    else:
        reply(message, messages=[saved.as_dict()])


@channel_session
def disconnect(message: Any) -> None:
    """See somebody out."""
    slug = message.channel_session.get("room")
    if slug:
        group = Group(Room(slug=slug).group_name)
        group.discard(message.reply_channel)
        tell_who_is_here(group)


def reply(message: Any, **content: Any) -> None:
    """Send an object to the page the message came from."""
    message.reply_channel.send({"text": json.dumps(content)})


def tell_who_is_here(group: Group) -> None:
    """Tell everybody in a room how many they are."""
    count = len(group.channel_layer.group_channels(group.name))
    group.send({"text": json.dumps({"here": count})})


def clean_name(name: Any) -> str:
    """A name that can be shown: one line, not empty, not too long."""
    return " ".join(str(name or "").replace("\0", "").split())[:NAME_LENGTH] or "Somebody"


def clean_id(after: str | None) -> int:
    """A message's id out of a query string; 0, which is before all of them, if it is none."""
    return int(after) if after and after.isdecimal() and len(after) < 19 else 0
