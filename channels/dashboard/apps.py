from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """The application with the page's files."""

    name = "channels.dashboard"
    label = "channels_dashboard"
    verbose_name = "Millrace dashboard"
    default_auto_field = "django.db.models.BigAutoField"
