"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class ChannelsConfig(AppConfig):
    """Reads the setting CHANNEL_LAYERS, registers the system checks."""

    name = "channels"
    label = "channels"
    verbose_name = "Channels"

    def ready(self) -> None:
        """Register the checks."""
        from . import checks  # noqa: F401
