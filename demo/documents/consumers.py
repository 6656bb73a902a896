"""The sockets of the pages: several streams over each.

``documents`` and ``text`` are bindings, see there. On ``presence`` a page says ``{"window": id, "editing": true}`` or
``false``, when that changes and all 25 seconds, and is sent who is where. ``notices`` tells what somebody did.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from channels import Group
from channels.exceptions import DenyConnection
from channels.generic.websockets import JsonWebsocketConsumer, WebsocketDemultiplexer, WebsocketMultiplexer
from channels.security.websockets import allowed_hosts_only
from demo.documents.bindings import ListBinding, TextBinding
from demo.documents.groups import EVERYBODY, LIST, of_session, tell_who_is_here, who_is_here
from demo.documents.models import WINDOW_LENGTH, Document, Presence


class PresenceConsumer(JsonWebsocketConsumer):
    """Keeps where each socket is."""

    def connect(self, message: Any, pk: str | None = None, **kwargs: Any) -> None:
        """Somebody opened the list, or the document `pk`."""
        self.note({}, pk)
        tell_who_is_here()

    def receive(self, content: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Somebody begins or ends to edit, or just says that they are still there."""
        if self.note(content, kwargs.get("pk")):
            tell_who_is_here()
        else:
            kwargs["multiplexer"].send(who_is_here())

    def disconnect(self, message: Any, **kwargs: Any) -> None:
        """Somebody closed it, or their connection broke."""
        left, _ = Presence.objects.filter(channel=message.reply_channel.name).delete()
        if left:  # nobody comes whose connection was denied
            tell_who_is_here()

    def note(self, content: dict[str, Any], pk: str | None) -> bool:
        """Keep where this socket is; the result is whether others need to know."""
        document = Document.objects.filter(pk=pk).first() if pk else None
        return Presence.objects.note(
            channel=self.message.reply_channel.name,
            window=str(content.get("window") or "")[:WINDOW_LENGTH],
            user=self.message.user,
            document=document,
            editing=document is not None and content.get("editing") is True,
        )


class Page(WebsocketDemultiplexer):
    """A page's socket, for those who are signed in."""

    http_user = True

    @allowed_hosts_only
    def raw_connect(self, message: Any, **kwargs: Any) -> None:
        """Let in who is signed in, as long as they are.

        Not in `connect`, which comes after the groups were joined: nobody is to be in them who may not.
        """
        if not message.user.is_authenticated:
            raise DenyConnection("sign in first")
        Group(of_session(message.http_session.session_key)).add(message.reply_channel)
        super().raw_connect(message, **kwargs)


class ListPage(Page):
    """The list of documents."""

    consumers = {"documents": ListBinding.consumer, "presence": PresenceConsumer}
    groups = [LIST, EVERYBODY]

    def connect(self, message: Any, **kwargs: Any) -> None:
        """Send the whole list; from then on the binding sends what changes."""
        super().connect(message, **kwargs)
        every = [ListBinding().serialize(document, "create") for document in Document.objects.all()]
        WebsocketMultiplexer("documents", message.reply_channel).send({"action": "list", "documents": every})


class DocumentPage(Page):
    """A document that somebody reads or edits."""

    consumers = {"text": TextBinding.consumer, "presence": PresenceConsumer}

    def connection_groups(self, **kwargs: Any) -> Iterable[str]:
        """The document's group, besides everybody's."""
        return [Document(pk=kwargs["pk"]).group_name, EVERYBODY]

    def connect(self, message: Any, **kwargs: Any) -> None:
        """Send the document; from then on the binding sends what changes."""
        document = Document.objects.filter(pk=kwargs["pk"]).first()
        if document is None:
            raise DenyConnection(f"there is no document {kwargs['pk']}")
        super().connect(message, **kwargs)
        now = TextBinding().serialize(document, "update")
        WebsocketMultiplexer("text", message.reply_channel).send(now)
