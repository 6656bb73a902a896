"""The application's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class WhiteboardConfig(AppConfig):
    """Shared whiteboards."""

    name = "demo.whiteboard"
    verbose_name = "Whiteboard"
