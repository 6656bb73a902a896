"""The application's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Chat rooms."""

    name = "demo.chat"
    verbose_name = "Chat"
