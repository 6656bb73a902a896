"""What pages are sent when a document changes, and what they may change.

Both bindings refuse what they cannot do with ``{"action": "refused", "reason": sentence}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F

from channels.binding.websockets import WebsocketBindingWithMembers
from demo.documents.groups import LIST, notify, tell_who_is_here
from demo.documents.models import TEXT_LENGTH, TITLE_LENGTH, Document


class DocumentBinding(WebsocketBindingWithMembers):
    """What the two have in common: refusing."""

    model: Any = None

    def refuse(self, reason: str, **more: Any) -> None:
        """Tell the page why nothing was changed."""
        refusal = {"action": "refused", "reason": reason, **more}
        self.message.reply_channel.send(self.encode(str(self.stream), refusal))

    def find(self, pk: Any) -> Document | None:
        """The document; if there is none, the page is told."""
        document = Document.objects.filter(pk=pk).first() if isinstance(pk, int) else None
        if document is None:
            self.refuse("This document is no longer there.")
        return document


class ListBinding(DocumentBinding):
    """The list of documents: pages make, rename and delete them."""

    model = Document
    stream = "documents"
    fields = ["title", "changed"]
    send_members = ["changed_by_name"]

    @classmethod
    def group_names(cls, instance: Document) -> Iterable[str]:
        """Every document is on the one list."""
        return [LIST]

    def has_permission(self, user: Any, action: str, pk: Any) -> bool:
        """Whoever is signed in may do everything."""
        return bool(user.is_authenticated)

    def create(self, data: dict[str, Any]) -> None:
        """Make an empty document."""
        title = self.title(data)
        if title:
            document = Document.objects.create(title=title, changed_by=self.user)
            notify(self.user, "created", title, document=document.pk)

    def update(self, pk: Any, data: dict[str, Any]) -> None:
        """Give a document another title."""
        title, document = self.title(data), self.find(pk)
        if title and document and title != document.title:
            before, document.title = document.title, title
            document.save(update_fields=["title"])
            notify(self.user, "renamed", title, before=before, document=pk)

    def delete(self, pk: Any) -> None:
        """Delete a document."""
        document = self.find(pk)
        if document:
            document.delete()
            notify(self.user, "deleted", document.title)
            tell_who_is_here()

    def title(self, data: dict[str, Any]) -> str:
        """The title in some data, on one line; if it cannot be one the page is told, and it is empty."""
        title = " ".join(str(data.get("title") or "").replace("\0", "").split())
        if not 0 < len(title) <= TITLE_LENGTH:
            self.refuse(f"A title has 1 to {TITLE_LENGTH} characters.")
            return ""
        return title


class TextBinding(DocumentBinding):
    """The text of a document: everybody who has it open sees it, and may save another one.

    Who saves says which version the text was made from. If somebody else saved meanwhile it is refused
    with ``conflict``, so that nobody overwrites what they have not seen.
    """

    model = Document
    stream = "text"
    fields = ["title", "text", "version", "changed"]
    send_members = ["changed_by_name"]

    @classmethod
    def group_names(cls, instance: Document) -> Iterable[str]:
        """Those who have it open."""
        return [instance.group_name]

    def has_permission(self, user: Any, action: str, pk: Any) -> bool:
        """Whoever is signed in may save the document whose page this is."""
        return bool(user.is_authenticated) and action == "update" and pk == int(self.kwargs["pk"])

    def update(self, pk: Any, data: dict[str, Any]) -> None:
        """Save a text."""
        text, version = data.get("text"), data.get("version")
        if not isinstance(text, str) or len(text) > TEXT_LENGTH or "\0" in text or not isinstance(version, int):
            return self.refuse(
                f"A text has at most {TEXT_LENGTH} characters, and comes with the version it was made from."
            )
        with transaction.atomic():
            mine = Document.objects.filter(pk=pk, version=version).update(version=F("version") + 1)
            document = self.find(pk)
            if document is None:
                return None
            if not mine:
                return self.refuse(f"{document.changed_by_name or 'Somebody'} saved meanwhile.", conflict=True)
            document.text, document.changed_by = text, self.user
            document.save(update_fields=["text", "changed", "changed_by"])
        return notify(self.user, "saved", document.title, document=pk)
