"""The application's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class ProcessesConfig(AppConfig):
    """The demo's own processes."""

    name = "demo.processes"
    verbose_name = "Processes"
