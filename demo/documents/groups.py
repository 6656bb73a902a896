"""The groups that sockets are in, and what is told to everybody."""

from __future__ import annotations

import time
from typing import Any

from django.utils.crypto import salted_hmac

from channels.generic.websockets import WebsocketMultiplexer
from demo.documents.models import Presence

LIST = "documents-list"
"""Everybody who has the list open."""

EVERYBODY = "documents-everybody"
"""Everybody who has the list or a document open."""


def of_session(session_key: str) -> str:
    """Name of the group of a browser's sockets. The key itself opens the session, so it is not shown around."""
    return f"documents-session-{salted_hmac('documents', session_key, algorithm='sha256').hexdigest()}"


def notify(user: Any, did: str, title: str, **more: Any) -> None:
    """Tell everybody what a user did."""
    notice = {"who": user.get_username(), "id": user.pk, "did": did, "title": title, **more}
    WebsocketMultiplexer.group_send(EVERYBODY, "notices", notice)


def tell_who_is_here() -> None:
    """Tell everybody who is where."""
    WebsocketMultiplexer.group_send(EVERYBODY, "presence", who_is_here())


def who_is_here() -> dict[str, Any]:
    """Who is where, and since when that holds: of two such messages the later one knows more, whichever comes first."""
    at = time.time()
    return {"at": at, "people": Presence.objects.people()}
