"""Rooms and what was said in them."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.urls import reverse

SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"
"""A room's address: lower-case letters and digits, with single hyphens between them."""

SLUG_LENGTH = 40
NAME_LENGTH = 40
TEXT_LENGTH = 2000


class RoomQuerySet(models.QuerySet["Room"]):
    """Rooms, asked for in the ways the pages need."""

    def lively(self) -> RoomQuerySet:
        """The rooms somebody spoke in last come first; `last_spoke` says when, `message_count` how much was said."""
        return self.annotate(last_spoke=models.Max("messages__sent"), message_count=models.Count("messages")).order_by(
            models.F("last_spoke").desc(nulls_last=True), "slug"
        )


class Room(models.Model):
    """A place to talk, made by the first visit to its address."""

    slug = models.CharField(max_length=SLUG_LENGTH, unique=True, validators=[RegexValidator(rf"\A{SLUG}\Z")])
    created = models.DateTimeField(auto_now_add=True)

    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        """The room's page."""
        return reverse("room", args=[self.slug])

    @property
    def group_name(self) -> str:
        """Name of the group of everybody who has the room open."""
        return f"chat-{self.slug}"

    def newest(self, count: int, after: int = 0) -> list[Message]:
        """The newest messages, oldest first; only those after the one with id `after`."""
        return list(reversed(self.messages.filter(id__gt=after).order_by("-id")[:count]))


class Message(models.Model):
    """Something said in a room.

    The page makes up the `key`. When it sends a message again, not knowing whether the first try got
    through before the connection broke, the key tells that the two are one.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages", db_index=False)
    key = models.UUIDField(default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    text = models.CharField(max_length=TEXT_LENGTH)
    sent = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        # Every question is about one room, newest first; the index by room and id serves the foreign key too.
        indexes = [models.Index(fields=["room", "id"], name="chat_message_room_id")]
        constraints = [models.UniqueConstraint(fields=["room", "key"], name="chat_message_once")]

    def __str__(self) -> str:
        return f"{self.name}: {self.text[:60]}"

    def as_dict(self) -> dict[str, Any]:
        """What the page needs to show the message, ready for JSON."""
        return {
            "id": self.pk,
            "key": str(self.key),
            "name": self.name,
            "text": self.text,
            "sent": self.sent.isoformat(),
        }
