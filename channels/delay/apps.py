"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class DelayConfig(AppConfig):
    """Keeps messages in the database until they are due."""

    name = "channels.delay"
    # Channels 1 had the label "channels.delay"; Django takes only identifiers today.
    label = "channels_delay"
    verbose_name = "Channels Delay"
    default_auto_field = "django.db.models.BigAutoField"
