"""Documents in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from demo.documents.models import Document, Presence


@admin.register(Document)
class DocumentAdmin(admin.ModelAdmin):
    """Documents, the one changed last first."""

    list_display = ["title", "version", "changed", "changed_by"]
    search_fields = ["title", "text"]
    ordering = ["-changed"]


@admin.register(Presence)
class PresenceAdmin(admin.ModelAdmin):
    """Who is where."""

    list_display = ["user", "document_id", "editing", "seen"]
    ordering = ["-seen"]
