"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.management import get_commands


class ChannelsConfig(AppConfig):
    """Reads the setting CHANNEL_LAYERS, registers the system checks and the data bindings."""

    name = "channels"
    label = "channels"
    verbose_name = "Channels"

    def ready(self) -> None:
        """See `set_up`."""
        set_up(self.name)


def set_up(application: str) -> None:
    """Register the checks and bindings, and see to it that ``runserver`` is an application's of this distribution.

    Args:
        application: its name, ``channels`` or ``daphne``.
    """
    from . import checks, message  # noqa: F401
    from .binding.registry import BindingMetaclass

    BindingMetaclass.register_all()

    commands = get_commands()
    if commands.get("runserver") == "django.contrib.staticfiles":
        # Of several applications with a command the first in INSTALLED_APPS wins, and most projects
        # name staticfiles before channels. Our command does what that one does, and more.
        commands["runserver"] = application
