"""Rooms and messages in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from demo.chat.models import Message, Room


@admin.register(Room)
class RoomAdmin(admin.ModelAdmin):
    """Rooms, newest first."""

    list_display = ["slug", "created"]
    search_fields = ["slug"]
    ordering = ["-created"]


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    """Messages, newest first."""

    list_display = ["room", "name", "text", "sent"]
    list_filter = ["room"]
    search_fields = ["name", "text"]
    ordering = ["-id"]
