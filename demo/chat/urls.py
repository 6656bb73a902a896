"""URLs of the chat."""

from __future__ import annotations

from django.urls import path, register_converter

from demo.chat import views
from demo.chat.models import SLUG


class RoomSlugConverter:
    """A room's address in a URL."""

    regex = SLUG

    def to_python(self, value: str) -> str:
        """The address as it stands."""
        return value

    to_url = to_python


register_converter(RoomSlugConverter, "room_slug")

urlpatterns = [
    path("", views.rooms, name="rooms"),
    path("<room_slug:slug>/", views.room, name="room"),
]
