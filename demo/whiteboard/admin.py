"""Whiteboards in Django's admin."""

from __future__ import annotations

from django.contrib import admin

from demo.whiteboard.models import Board, Stroke


@admin.register(Board)
class BoardAdmin(admin.ModelAdmin):
    """Boards by name."""

    list_display = ["slug", "version"]


@admin.register(Stroke)
class StrokeAdmin(admin.ModelAdmin):
    """Strokes, newest first."""

    list_display = ["board", "color", "width", "visible"]
    list_filter = ["board", "color", "visible"]
    ordering = ["-id"]
