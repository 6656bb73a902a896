"""The Django application: the commands and checks of ``channels``, for projects that name only this one."""

from __future__ import annotations

from django.apps import AppConfig, apps

from channels.apps import set_up


class DaphneConfig(AppConfig):
    """Has ``runserver`` and ``runworker``; the same as those of ``channels``."""

    name = "daphne"
    verbose_name = "Daphne"

    def ready(self) -> None:
        """Do what the application ``channels`` does, unless it is installed too."""
        if not apps.is_installed("channels"):
            set_up(self.name)
