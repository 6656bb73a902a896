"""Documents, and who is at them right now."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

TITLE_LENGTH = 80
TEXT_LENGTH = 20_000
WINDOW_LENGTH = 40

STALE_AFTER = timedelta(seconds=100)
"""Who was not heard of for so long is gone. Pages say that they are there every 25 s, in the background every 60."""


class Document(models.Model):
    """A text with a title. `version` counts the texts it has had."""

    title = models.CharField(max_length=TITLE_LENGTH)
    text = models.TextField(max_length=TEXT_LENGTH, blank=True)
    version = models.PositiveIntegerField(default=0)
    changed = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="changed_documents"
    )

    class Meta:
        ordering = ["title", "id"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """The document's page."""
        return reverse("document", args=[self.pk])

    @property
    def group_name(self) -> str:
        """Name of the group of everybody who has the document open."""
        return f"document-{self.pk}"

    @property
    def changed_by_name(self) -> str:
        """Who changed it last; empty if that user is gone."""
        return self.changed_by.get_username() if self.changed_by else ""


class PresenceQuerySet(models.QuerySet["Presence"]):
    """Who is where."""

    def note(self, channel: str, window: str, user: Any, document: Document | None, editing: bool) -> bool:
        """Keep where a socket is; the result is whether that is news, or an entry was out of date."""
        now = timezone.now()
        stale, _ = self.filter(seen__lt=now - STALE_AFTER).delete()
        # After a crash of its server a window comes back on another socket, before the old one is missed.
        left, _ = self.filter(user=user, window=window).exclude(window="").exclude(channel=channel).delete()
        place = {"window": window, "user": user, "document": document, "editing": editing}
        if self.filter(channel=channel, **place).update(seen=now):
            return stale + left > 0
        # One socket's messages take turns, so nobody else notes this one at the same time.
        if not self.filter(channel=channel).update(seen=now, **place):
            self.create(channel=channel, seen=now, **place)
        return True

    def people(self) -> list[dict[str, Any]]:
        """Everybody who is here, each once, however many windows they have open; ready for JSON.

        ``reads`` and ``edits`` give for each document, by its id, in how many windows.
        """
        here: dict[int, dict[str, Any]] = {}
        fresh = self.filter(seen__gte=timezone.now() - STALE_AFTER)
        for presence in fresh.select_related("user").order_by("user__username", "id"):
            person = here.setdefault(
                presence.user_id,
                {"id": presence.user_id, "name": presence.user.get_username(), "reads": Counter(), "edits": Counter()},
            )
            if presence.document_id is not None:
                person["edits" if presence.editing else "reads"][presence.document_id] += 1
        return list(here.values())


class Presence(models.Model):
    """One open socket: whose it is, and where. Without a document it is the list's.

    The page makes up `window`, by which it is known when its socket is another one.
    """

    channel = models.CharField(max_length=200, unique=True)
    window = models.CharField(max_length=WINDOW_LENGTH, blank=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    # Not constrained: a document may be deleted in the moment in which somebody opens it.
    document = models.ForeignKey(Document, on_delete=models.SET_NULL, null=True, db_constraint=False)
    editing = models.BooleanField(default=False)
    seen = models.DateTimeField(db_index=True)

    objects = PresenceQuerySet.as_manager()

    def __str__(self) -> str:
        place = f"document {self.document_id}" if self.document_id else "the list"
        return f"{self.user} {'edits' if self.editing else 'reads'} {place}"
