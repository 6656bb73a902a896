"""The sockets of the pages: several streams over each.

``documents`` and ``text`` are bindings, see there. On ``presence`` a page says ``{"editing": true}`` or ``false``, when
that changes and every half minute, and is sent who is where. ``notices`` tells what somebody did.
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
from demo.documents.models import Document, Presence


class PresenceConsumer(JsonWebsocketConsumer):
    """Keeps where each socket is."""

    def connect(self, message: Any, pk: str | None = None, **kwargs: Any) -> None:
        """Somebody opened the list, or the document `pk`."""
        self.note(pk, editing=False)
        tell_who_is_here()

    def receive(self, content: Any, multiplexer: Any = None, pk: str | None = None, **kwargs: Any) -> None:
        """Somebody begins or ends to edit, or just says that they are still there."""
        if self.note(pk, editing=pk is not None and content.get("editing") is True):
            tell_who_is_here()
        else:
            multiplexer.send(who_is_here())

    def disconnect(self, message: Any, **kwargs: Any) -> None:
        """Somebody closed it, or their connection broke."""
        Presence.objects.filter(channel=message.reply_channel.name).delete()
        tell_who_is_here()

    def note(self, pk: str | None, editing: bool) -> bool:
        """Keep where this socket is; the result is whether others need to know."""
        document = Document.objects.filter(pk=pk).first() if pk else None
        return Presence.objects.note(self.message.reply_channel.name, self.message.user, document, editing)


class Page(WebsocketDemultiplexer):
    """A page's socket, for those who are signed in."""

    http_user = True

    @allowed_hosts_only
    def connect(self, message: Any, **kwargs: Any) -> None:
        """Let in who is signed in, as long as they are."""
        if not message.user.is_authenticated:
            raise DenyConnection("sign in first")
        Group(of_session(message.http_session.session_key)).add(message.reply_channel)
        super().connect(message, **kwargs)


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

    def connection_groups(self, pk: str, **kwargs: Any) -> Iterable[str]:
        """The document's group, besides everybody's."""
        return [Document(pk=pk).group_name, EVERYBODY]

    def connect(self, message: Any, pk: str, **kwargs: Any) -> None:  # type: ignore[override]
        """Send the document; from then on the binding sends what changes."""
        document = Document.objects.filter(pk=pk).first()
        if document is None:
            raise DenyConnection(f"there is no document {pk}")
        super().connect(message, pk=pk, **kwargs)
        now = TextBinding().serialize(document, "update")
        WebsocketMultiplexer("text", message.reply_channel).send(now)
